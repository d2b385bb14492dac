//! lab
#![allow(missing_docs, clippy::all)]
use portcullis_core::content::rule_sets::{RuleSet, Subject};
use portcullis_core::content::views::{self, Reader};
use std::time::Instant;
struct Rng(u64);
impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}
fn judge(text: &str, sets: &[RuleSet]) -> bool {
    views::any(text, Reader::Unknown, &mut |view| {
        let s = Subject::new(view);
        sets.iter().any(|set| set.find(&s).is_some())
    })
}
fn ns(text: &str, sets: &[RuleSet], tries: usize) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..tries {
        let t = Instant::now();
        std::hint::black_box(judge(text, sets));
        best = best.min(t.elapsed().as_nanos() as f64);
    }
    best / text.len() as f64
}
fn main() {
    let mode = std::env::args().nth(1).unwrap();
    let pieces: Vec<String> = std::fs::read_to_string("/tmp/rules3/pieces.txt")
        .unwrap()
        .lines()
        .map(|l| l.replace("\\n", "\n").replace("\\0", "\0"))
        .filter(|l| !l.is_empty())
        .collect();
    if mode == "show" {
        for line in std::fs::read_to_string("/tmp/rules3/worst.txt").unwrap().lines() {
            let (pre, unit, post): (String, String, String) = {
                let v: Vec<String> = serde_json::from_str(line).unwrap();
                (v[0].clone(), v[1].clone(), v[2].clone())
            };
            let text = [&*pre, &unit.repeat(65536 / unit.len()), &*post].concat();
            let n = {
                let mut n = 0;
                views::any(&text, Reader::Unknown, &mut |v| {
                    n += v.len();
                    false
                });
                n
            };
            print!("{:6.1} ns/B views {:.2} ", ns(&text, &RuleSet::ALL, 5), n as f64 / text.len() as f64);
            for s in RuleSet::ALL {
                print!(" {:5.1}", ns(&text, &[s], 5));
            }
            println!("  {line}");
        }
        return;
    }
    if mode == "spin" {
        let line = std::env::args().nth(2).unwrap();
        let v: Vec<String> = serde_json::from_str(&line).unwrap();
        let text = [&*v[0], &v[1].repeat(65536 / v[1].len()), &*v[2]].concat();
        for _ in 0..200 {
            std::hint::black_box(judge(&text, &RuleSet::ALL));
        }
        return;
    }
    let n: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let seed: u64 = std::env::args().nth(3).unwrap().parse().unwrap();
    let mut rng = Rng(seed.wrapping_mul(0x9E3779B97F4A7C15) | 1);
    let forms = [("", "", ""), ("\"", "", "\""), ("[\"\"", ",\"", "]")];
    for (pre, between, post) in forms {
        let msg = |unit: &[usize], len: usize| {
            let u: String = std::iter::once(between)
                .chain(unit.iter().map(|i| &*pieces[*i]))
                .chain([if between.is_empty() { "" } else { "\"" }])
                .collect();
            [pre, &u.repeat((len - pre.len() - post.len()) / u.len().max(1)), post].concat()
        };
        let cost = |u: &[usize], t| ns(&msg(u, 4096), &RuleSet::ALL, t);
        let mut best: Vec<usize> = vec![0];
        let mut most = 0.0;
        for i in 0..pieces.len() {
            let c = cost(&[i], 2);
            if c > most {
                most = c;
                best = vec![i];
            }
        }
        let mut stale = 0;
        let (mut gmost, mut gbest) = (0.0, best.clone());
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
                    _ if ch.len() < 16 => ch.insert(at, p),
                    _ => ch.truncate(8),
                }
            }
            let c = cost(&ch, 2);
            if c > most * 1.01 {
                let c2 = cost(&ch, 5);
                if c2 > most {
                    most = c2;
                    best = ch;
                    stale = 0;
                }
            } else {
                stale += 1;
            }
            if stale > 1500 {
                if most > gmost {
                    gmost = most;
                    gbest = best.clone();
                }
                best = (0..1 + rng.below(6)).map(|_| rng.below(pieces.len())).collect();
                most = cost(&best, 5);
                stale = 0;
            }
        }
        if most > gmost {
            gmost = most;
            gbest = best;
        }
        let u = {
            let u: String = std::iter::once(between)
                .chain(gbest.iter().map(|i| &*pieces[*i]))
                .chain([if between.is_empty() { "" } else { "\"" }])
                .collect();
            u
        };
        println!("{:.1}\t{}", gmost, serde_json::to_string(&[pre, &u, post]).unwrap());
    }
}
