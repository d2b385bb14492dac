//! Generated routes and paths: a request whose readings differ is never let in under any one of their policies.

use portcullis_fuzz::{Outcome, outcome};

/// What paths are made of: names, and everything that somebody reads in another way than the next.
const PIECES: [&str; 56] = [
    "/",
    "/",
    "/",
    "/",
    "//",
    "admin",
    "admin",
    "public",
    "x",
    "ADMIN",
    "adMin",
    ".",
    "..",
    "/..",
    "/../",
    "/./",
    "%2e",
    "%2E%2e",
    "%252e",
    "%2f",
    "%2F",
    "%255c",
    "%5c",
    "\\",
    ";",
    ";a=b",
    "%3b",
    "%25",
    "25",
    "%61dmin",
    "%u0061dmin",
    "%00",
    "%20",
    " ",
    "#",
    "%3f",
    "%23",
    "?",
    "%c0%ae",
    "%c0%af",
    "%ef%bc%8f",
    "%c3%a9",
    "%C3%89",
    "\u{c9}",
    "%u00e9",
    "%e0%83%a9",
    "%c0%2e",
    "%c1%1c",
    "%0a",
    "\x7f",
    "adm%c4%b0n",
    "adm\u{131}n",
    "%u212a",
    "\u{17f}",
    "http://h",
    ":",
];

const ROUTES: [&str; 10] =
    ["/", "/admin", "/admin/x", "/public", "/x", "/Admin", "/x%C3%A9", "/admin/public", "/É/x", "/x:x"];

const ROUNDS: u32 = 10_000;

#[test]
fn a_request_whose_readings_differ_is_never_admitted_under_one_of_them() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut refused, mut of_base, mut of_routes) = (0, 0, 0);
    for _ in 0..ROUNDS {
        let route = |random: &mut Random| (random.below(2) == 0, ROUTES[random.below(ROUTES.len())].to_owned());
        let routes: Vec<_> = (0..=random.below(3)).map(|_| route(&mut random)).collect();
        // Most begin with what a route names, so that many come near one.
        let start = if random.below(3) > 0 { routes[0].1.clone() } else { "/".to_owned() };
        let tail: String = (0..random.below(7)).map(|_| PIECES[random.below(PIECES.len())]).collect();
        match outcome(&routes, format!("{start}{tail}").as_bytes()) {
            Outcome::NoPolicy => {}
            Outcome::Refused => refused += 1,
            Outcome::Selected(None) => of_base += 1,
            Outcome::Selected(Some(_)) => of_routes += 1,
        }
    }
    println!("{refused} refused, {of_base} under the base policy, {of_routes} under that of a route");
    assert!([refused, of_base, of_routes].iter().all(|count| *count > ROUNDS / 20));
}

/// xorshift64*: the same everywhere.
struct Random(u64);

impl Random {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).expect("31 bits") % end
    }
}
