//! Measures the built-in rule sets: what of corpora of attacks they find, what of honest texts they refuse, and what that costs.
//!
//! ```text
//! cargo run --release -p portcullis-core --example rule_sets -- CORPORA [--exclude FOLDER] [--missed] [HONEST…]
//! ```
//!
//! `CORPORA` is a folder with a file for each set (`sql_injection.txt`, …), one attack a line. `FOLDER` may hold a file of the same name with the
//! lines that are no attacks: each begins with its reason and a tab. `HONEST` are files, each line of which is one text for all sets.

#![expect(clippy::disallowed_methods, reason = "it measures")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, io};

use portcullis_core::content::rule_sets::{RuleSet, Subject};

const MIB: f64 = 1_048_576.0;

/// As long as the longest message that waits to be read.
const LONG_LEN: usize = 65_536;

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

struct Arguments {
    corpora: PathBuf,
    exclude: Option<PathBuf>,
    missed: bool,
    honest: Vec<PathBuf>,
}

fn arguments() -> Option<Arguments> {
    let mut parsed = Arguments { corpora: PathBuf::new(), exclude: None, missed: false, honest: Vec::new() };
    let mut arguments = env::args().skip(1);
    parsed.corpora = arguments.next()?.into();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--exclude" => parsed.exclude = Some(arguments.next()?.into()),
            "--missed" => parsed.missed = true,
            _ => parsed.honest.push(argument.into()),
        }
    }
    Some(parsed)
}

fn main() -> io::Result<()> {
    let Some(arguments) = arguments() else {
        return Err(io::Error::other("which folder of corpora?"));
    };
    println!("| set | attacks | found | missed | | left out |\n|---|--:|--:|--:|--:|--:|");
    for set in RuleSet::ALL {
        attacks(set, &arguments)?;
    }
    if !arguments.honest.is_empty() {
        honest(&arguments.honest)?;
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

/// The row of one set.
fn attacks(set: RuleSet, arguments: &Arguments) -> io::Result<()> {
    let name = set.names()[0].split('.').next().unwrap_or_default();
    let file = format!("{name}.txt");
    let Ok(corpus) = lines(&arguments.corpora.join(&file)) else { return Ok(()) };
    let excluded = match &arguments.exclude {
        Some(folder) => lines(&folder.join(&file)).unwrap_or_default(),
        None => Vec::new(),
    };
    let is_excluded =
        |line: &&String| excluded.iter().any(|one| one.split_once('\t').is_some_and(|(_, text)| text == *line));
    let (left_out, attacks): (Vec<_>, Vec<_>) = corpus.iter().partition(is_excluded);
    let missed: Vec<_> = attacks.iter().filter(|line| set.find(&Subject::new(line)).is_none()).collect();
    let found = attacks.len() - missed.len();
    let percent = 100.0 * found as f64 / attacks.len().max(1) as f64;
    println!("| {name} | {} | {found} | {} | {percent:.1} % | {} |", attacks.len(), missed.len(), left_out.len());
    if arguments.missed {
        missed.iter().for_each(|line| println!("    {line}"));
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
            let found: Vec<_> = RuleSet::ALL.iter().filter_map(|set| set.find(&subject)).collect();
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

/// What all sets take for `text`, repeated, in milliseconds for a MiB: of several tries the one that was interrupted least.
fn cost(text: &str) -> f64 {
    let long = text.repeat(LONG_LEN / text.len());
    let tries = (0..9).map(|_| {
        let start = Instant::now();
        let subject = Subject::new(&long);
        RuleSet::ALL.iter().for_each(|set| {
            core::hint::black_box(set.find(&subject));
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
