//! lab
#![allow(missing_docs, clippy::all)]
use portcullis_host_tests::frame::{self, TEXT};
use portcullis_host_tests::scenario::{Gate, policy_with};
use serde_json::json;
const SETS: [&str; 6] = [
    "command_injection",
    "cross_site_scripting",
    "nosql_injection",
    "path_traversal",
    "prototype_pollution",
    "sql_injection",
];
struct Rng(u64);
impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}
fn gate(sets: &[&str]) -> Gate {
    let mut g = Gate::new(&policy_with(json!({"messages": {"from_client": {"rule_sets": sets}}})));
    g.allow_instructions(300_000_000_000);
    g
}
fn cost(gate: &mut Gate, m: &str) -> f64 {
    let s = gate.connect();
    let b = frame::client(TEXT, m.as_bytes());
    gate.client(s, &b);
    let n = gate.instructions();
    gate.delete(s).unwrap();
    n as f64 / 15_000_000.0
}
fn message(v: &[String], len: usize) -> String {
    [&*v[0], &v[1].repeat((len - v[0].len() - v[2].len()) / v[1].len()), &*v[2]].concat()
}
#[test]
fn show() {
    let mut all = gate(&SETS);
    let mut each: Vec<Gate> =
        if std::env::var("LAB_EACH").is_ok() { SETS.iter().map(|s| gate(&[s])).collect() } else { vec![] };
    for line in std::fs::read_to_string("/tmp/rules3/worst.txt").unwrap().lines() {
        let v: Vec<String> = serde_json::from_str(line).unwrap();
        let m = message(&v, 65536);
        print!("{:6.2} ms {:.3} ", cost(&mut all, &m), cost(&mut all, &message(&v, 512)));
        for g in &mut each {
            print!(" {:6.2}", cost(g, &m));
        }
        println!("  {line}");
    }
}
#[test]
fn climb() {
    let n: usize = std::env::var("LAB_TRIES").unwrap().parse().unwrap();
    let seed: u64 = std::env::var("LAB_SEED").unwrap().parse().unwrap();
    let len: usize = std::env::var("LAB_LEN").map_or(2048, |x| x.parse().unwrap());
    let pieces: Vec<String> = std::fs::read_to_string("/tmp/rules3/pieces.txt")
        .unwrap()
        .lines()
        .map(|l| l.replace("\\n", "\n").replace("\\0", "\0"))
        .filter(|l| !l.is_empty())
        .collect();
    let mut g = gate(&SETS);
    let mut rng = Rng(seed.wrapping_mul(0x9E3779B97F4A7C15) | 1);
    for (pre, between, post) in [("", "", ""), ("\"", "", "\""), ("[\"\"", ",\"", "]"), ("{\"a\":\"", "", "\"}")] {
        let unit = |u: &[usize]| -> String {
            std::iter::once(between)
                .chain(u.iter().map(|i| &*pieces[*i]))
                .chain([if between.is_empty() { "" } else { "\"" }])
                .collect()
        };
        let mut cost = |u: &[usize]| cost(&mut g, &message(&[pre.into(), unit(u), post.into()], len));
        let mut best: Vec<usize> = vec![0];
        let mut most = 0.0;
        for i in 0..pieces.len() {
            let c = cost(&[i]);
            if c > most {
                most = c;
                best = vec![i];
            }
        }
        let (mut gmost, mut gbest, mut stale) = (0.0, best.clone(), 0);
        for _ in 0..n {
            let mut ch = best.clone();
            for _ in 0..1 + rng.below(2) {
                let p = rng.below(pieces.len());
                let at = rng.below(ch.len());
                match rng.below(4) {
                    0 if ch.len() > 1 => {
                        ch.remove(at);
                    }
                    1 => ch[at] = p,
                    2 => {
                        let b = rng.below(ch.len());
                        ch.swap(at, b);
                    }
                    _ if ch.len() < 20 => ch.insert(at, p),
                    _ => ch.truncate(8),
                }
            }
            let c = cost(&ch);
            if c > most {
                most = c;
                best = ch;
                stale = 0;
            } else {
                stale += 1;
            }
            if stale > 600 {
                if most > gmost {
                    gmost = most;
                    gbest = best.clone();
                }
                best = (0..1 + rng.below(6)).map(|_| rng.below(pieces.len())).collect();
                most = cost(&best);
                stale = 0;
            }
        }
        if most > gmost {
            gmost = most;
            gbest = best;
        }
        let u = unit(&gbest);
        let long = cost_of(&mut g, &[pre.into(), u.clone(), post.into()], 65536);
        let short = cost_of(&mut g, &[pre.into(), u.clone(), post.into()], 512);
        println!("{gmost:.3} {long:.2} {short:.3}\t{}", serde_json::to_string(&[pre, &u, post]).unwrap());
    }
}
fn cost_of(g: &mut Gate, v: &[String], len: usize) -> f64 {
    cost(g, &message(v, len))
}
