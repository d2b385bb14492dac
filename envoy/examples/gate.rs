//! An Envoy with Portcullis for programs in other languages: `gate MODULE UPSTREAM`, with a policy, JSON, on each line of its input.
//!
//! The first policy starts it, and each other one is put in force while it runs. Each is answered with a line, the address of the
//! listener or why there is none. It stops at the end of its input.

use std::env;
use std::error::Error;
use std::io::{self, BufRead};

use portcullis_envoy::{Envoy, Launch, Update};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [module, upstream] = arguments.as_slice() else {
        return Err("usage: gate MODULE UPSTREAM".into());
    };
    let mut envoy: Option<Envoy> = None;
    for line in io::stdin().lock().lines() {
        let policy = serde_json::from_str(&line?)?;
        let address = match &envoy {
            None => envoy.insert(Launch::new(module, policy, upstream.parse()?).start()?).address(),
            Some(envoy) if envoy.update_policy(&policy)? == Update::Accepted => envoy.address(),
            Some(envoy) => return Err(format!("the policy was refused: {}", envoy.log()?).into()),
        };
        println!("{address}");
    }
    Ok(())
}
