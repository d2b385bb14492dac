//! Measures the built-in rule sets: what of corpora of attacks they find, what of honest texts they refuse, and what that costs.
//!
//! ```text
//! cargo run --release -p portcullis-core --example rule_sets -- CORPORA [HONEST…]
//! ```
//!
//! `CORPORA` is a folder with a file for each set (`sql_injection.txt`, …), one attack a line. `no_attacks` has lines of public
//! lists that are none, each behind its reason and a tab. All that is missed is printed, by its reason. `HONEST` are files,
//! each line of which is one text for all sets, and each whole one message, of which is printed how much work it takes.

#![expect(clippy::disallowed_methods, reason = "it measures")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, io};

use portcullis_core::content::rule_sets::{LeftOut, Message, RuleSet, Subject};
use portcullis_core::content::views::{self, Reader, View};
use serde_json::json;

const MIB: f64 = 1_048_576.0;

/// As long as the longest message that waits to be read.
const LONG_LEN: usize = 65_536;

/// How much of a file is tried as one message, in characters.
const WORK_LEN: usize = 60_000;

/// Shares of the work, in percent.
const SHARES: [usize; 6] = [25, 50, 70, 80, 90, 100];

/// What costs the rules the most for each byte: found by search, each repeated to [`LONG_LEN`].
const WORST: &[&str] = &[
    "$(",
    "/*!1",
    "1 /*!",
    "[%25`a`&`a`",
    "%25`a`\"\0&`a`",
    "&#x)http://char(${.\0",
    "chr(97)||alert(j a\0",
    "alert(&null,\0",
    "]$and sleep(/*\0",
    "\0$('cat $(",
    "$(0\\a\\${&amp;",
    "/*'*/",
    "(/*or*/",
    "--or\n",
    "sh/",
    "\u{1}awk",
    "'order by 1 ",
    "..0x2fa",
    "\\nc",
    "x=",
    "j/*",
    "un/*",
    "extractvalue(",
    "'';if(",
    "../",
    "{{",
    "<a on=",
    "' or ",
];

/// Lines of public lists that are no attacks, and why: nothing that reads such a line does anything for it, in any place. A line that a shell runs,
/// a page loads or a database stumbles over is none of them, even where it is missed. All are lines that a set misses.
const NO_ATTACKS: &[(RuleSet, &str)] = &[
    (RuleSet::CommandInjection, include_str!("no_attacks/command_injection.txt")),
    (RuleSet::CrossSiteScripting, include_str!("no_attacks/cross_site_scripting.txt")),
    (RuleSet::SqlInjection, include_str!("no_attacks/sql_injection.txt")),
];

/// The reason of a line that stands in no list.
const NO_REASON: &str = "no reason known";

fn main() -> io::Result<()> {
    let mut paths = env::args().skip(1).map(PathBuf::from);
    let Some(corpora) = paths.next() else {
        return Err(io::Error::other("which folder of corpora?"));
    };
    for set in RuleSet::ALL {
        attacks(set, &corpora)?;
    }
    let texts: Vec<PathBuf> = paths.collect();
    if !texts.is_empty() {
        honest(&texts)?;
        work(&texts)?;
    }
    println!("\n| 64 KiB of | ms a MiB |\n|---|--:|");
    let prose = "The committee didn't agree on the union's proposal; we'll select a date (maybe 3 or 4 pm).\n";
    let json = r#"{"id":12345,"name":"Jane O'Neil","tags":["a","b"],"url":"https://example.com/a?b=1&c=2"},"#;
    println!("| prose | {:.0} |\n| JSON | {:.0} |", cost(prose), cost(json));
    let worst = WORST.iter().map(|text| (cost(text), text)).max_by(|one, other| one.0.total_cmp(&other.0));
    if let Some((cost, text)) = worst {
        println!("| the worst that is known, `{}` | {cost:.0} |", text.escape_debug());
    }
    Ok(())
}

/// What a set finds of the file that is named like it, and what not.
fn attacks(set: RuleSet, corpora: &Path) -> io::Result<()> {
    let name = set.names()[0].split('.').next().unwrap_or_default();
    let Ok(corpus) = lines(&corpora.join(format!("{name}.txt"))) else {
        println!("\n{name}: no file");
        return Ok(());
    };
    let no_attacks = NO_ATTACKS.iter().filter(|(of, _)| *of == set).flat_map(|(_, file)| file.lines());
    let reasons: BTreeMap<_, _> =
        no_attacks.filter_map(|row| row.split_once('\t')).map(|(reason, line)| (line, reason)).collect();
    let missed: Vec<_> =
        corpus.iter().filter(|line| set.find(&Subject::new(line), &LeftOut::default()).is_none()).collect();
    let mut by_reason: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for line in &missed {
        by_reason.entry(reasons.get(line.as_str()).unwrap_or(&NO_REASON)).or_default().push(line);
    }
    let unexplained = by_reason.get(NO_REASON).map_or(0, Vec::len);
    let found = corpus.len() - missed.len();
    let percent = |of: usize| 100.0 * found as f64 / of.max(1) as f64;
    println!(
        "\n{name}: {found} of {} lines found, {:.1} %; {:.1} % of the {} that are left without those of no_attacks",
        corpus.len(),
        percent(corpus.len()),
        percent(found + unexplained),
        found + unexplained
    );
    for (reason, lines) in by_reason {
        println!("  {} missed: {reason}", lines.len());
        lines.iter().for_each(|line| println!("    {line}"));
    }
    Ok(())
}

/// What is refused of what should not be, by each rule, and what looking took.
fn honest(files: &[PathBuf]) -> io::Result<()> {
    let (mut texts, mut refused, mut bytes, mut taken) = (0_u64, 0_u64, 0, Duration::ZERO);
    let mut by_rule: BTreeMap<&str, u64> = BTreeMap::new();
    for file in files {
        for line in lines(file)? {
            let start = Instant::now();
            let subject = Subject::new(&line);
            let found: Vec<_> = RuleSet::ALL.iter().filter_map(|set| set.find(&subject, &LeftOut::default())).collect();
            taken += start.elapsed();
            texts += 1;
            bytes += line.len();
            refused += u64::from(!found.is_empty());
            found.into_iter().for_each(|rule| *by_rule.entry(rule).or_default() += 1);
        }
    }
    let percent = 100.0 * refused as f64 / texts.max(1) as f64;
    let cost = taken.as_secs_f64() * 1_000.0 / (bytes as f64 / MIB);
    println!("\n{refused} of {texts} honest texts refused, {percent:.3} %; {cost:.0} ms a MiB");
    by_rule.iter().for_each(|(rule, count)| println!("    {count} {rule}"));
    Ok(())
}

/// How many of the files need more than a share of the work that a message of their length may take: as they are, as a string of JSON, and as
/// JSON in a string of JSON.
fn work(files: &[PathBuf]) -> io::Result<()> {
    let texts = files.iter().map(|file| Ok(String::from_utf8_lossy(&fs::read(file)?).chars().take(WORK_LEN).collect()));
    let texts = texts.collect::<io::Result<Vec<String>>>()?;
    let forms = texts.iter().flat_map(|text| {
        let in_json = json!({ "text": text }).to_string();
        [text.clone(), json!({ "m": in_json }).to_string(), in_json]
    });
    let mut over = BTreeMap::from(SHARES.map(|percent| (percent, 0_u64)));
    for form in forms {
        for (percent, count) in &mut over {
            let mut message = Message::new(form.len() * percent / 100, 0);
            let mut needs_more = |view: View<'_>| view.says_more() && !message.take(&Subject::new(view.text()));
            *count += u64::from(views::any(&form, Reader::Unknown, &mut needs_more));
        }
    }
    let over: Vec<_> = over.iter().map(|(percent, count)| format!("{count} more than {percent} %")).collect();
    println!("\nof {} texts, {} of the work of their length", texts.len() * 3, over.join(", "));
    Ok(())
}

/// What all sets take for `text`, repeated, in milliseconds for a MiB: of several tries the one that was interrupted least.
fn cost(text: &str) -> f64 {
    let long = text.repeat(LONG_LEN / text.len());
    let tries = (0..9).map(|_| {
        let start = Instant::now();
        let subject = Subject::new(&long);
        RuleSet::ALL.iter().for_each(|set| {
            core::hint::black_box(set.find(&subject, &LeftOut::default()));
        });
        start.elapsed()
    });
    tries.min().unwrap_or_default().as_secs_f64() * 1_000.0 / (long.len() as f64 / MIB)
}

fn lines(file: &Path) -> io::Result<Vec<String>> {
    let text = fs::read(file)?;
    let lines = text.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned());
    Ok(lines.filter(|line| !line.trim().is_empty()).collect())
}
