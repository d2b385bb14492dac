//! Chromium, driven through chromedriver: the few commands of WebDriver (W3C) that the demo needs.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// A Chromium with a new profile. It ends when it is dropped.
pub(super) struct Browser {
    driver: Driver,
    /// The session's path.
    session: String,
}

impl Browser {
    /// With these command line switches.
    ///
    /// # Errors
    /// No chromedriver, or no Chromium that it can start.
    pub(super) fn start(switches: &[&str]) -> Result<Self, Box<dyn Error>> {
        let driver = Driver::start()?;
        let switches = [&SWITCHES[..], switches].concat();
        let answer = driver.command(
            "POST",
            "/session",
            &json!({"capabilities": {"alwaysMatch": {
                // Chromium does not know the demo's certificate authority.
                "acceptInsecureCerts": true,
                "timeouts": {"script": PATIENCE.as_millis()},
                "goog:chromeOptions": {"args": switches},
            }}}),
        )?;
        let id = answer["sessionId"].as_str().ok_or("chromedriver names no session")?;
        Ok(Self { driver, session: format!("/session/{id}") })
    }

    /// Opens a page and waits until it is loaded.
    ///
    /// # Errors
    /// A page that cannot be loaded.
    pub(super) fn go(&self, url: &str) -> Result<(), Box<dyn Error>> {
        self.driver.command("POST", &format!("{}/url", self.session), &json!({"url": url})).map(drop)
    }

    /// One command of Chromium's own protocol (CDP), and its result.
    ///
    /// # Errors
    /// A command that Chromium refuses.
    pub(super) fn order(&self, command: &str, parameters: &Value) -> Result<Value, Box<dyn Error>> {
        let path = format!("{}/goog/cdp/execute", self.session);
        self.driver.command("POST", &path, &json!({"cmd": command, "params": parameters}))
    }

    /// Runs the body of a function in the page, and returns its result: behind these arguments it gets another, a function to
    /// call with a text. A script that throws or takes longer than [`PATIENCE`] gives an error.
    pub(super) fn tell(&self, script: &str, arguments: Value) -> String {
        let path = format!("{}/execute/async", self.session);
        match self.driver.command("POST", &path, &json!({"script": script, "args": arguments})) {
            Ok(value) => value.as_str().unwrap_or("no text").to_owned(),
            Err(error) => format!("error: {error}"),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with its session. One that does not answer ends with its driver.
        let _ = self.driver.command("DELETE", &self.session, &json!({}));
    }
}

/// A chromedriver on a free port. It ends when it is dropped.
struct Driver {
    child: Child,
    port: u16,
    /// Open until the end: chromedriver must not fail to write.
    output: BufReader<ChildStdout>,
}

impl Driver {
    fn start() -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(PROGRAM)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{PROGRAM}: {error}; {HINT}"))?;
        let output = BufReader::new(child.stdout.take().ok_or("its output is piped")?);
        let mut driver = Self { child, port: 0, output };
        while driver.port == 0 {
            let mut line = String::new();
            if driver.output.read_line(&mut line)? == 0 {
                return Err(format!("{PROGRAM} ended before it listened").into());
            }
            driver.port = port(&line).unwrap_or_default();
        }
        Ok(driver)
    }

    /// One request on a connection of its own, and the `value` of its answer.
    fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value, Box<dyn Error>> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(PATIENCE * 2))?;
        let body = body.to_string();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut stream = BufReader::new(stream);
        let mut len = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(("content-length", value)) = line.to_ascii_lowercase().split_once(':') {
                len = value.trim().parse()?;
            }
        }
        let mut answer = vec![0; len];
        stream.read_exact(&mut answer)?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        match answer["value"].take() {
            // W3C WebDriver, "Handling errors".
            value if value["error"].is_string() => {
                let message = value["message"].as_str().unwrap_or_default();
                Err(format!("{method} {path}: {}", message.lines().next().unwrap_or_default()).into())
            }
            value => Ok(value),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The port in "ChromeDriver was started successfully on port 42997."
fn port(line: &str) -> Option<u16> {
    line.trim().strip_suffix('.')?.rsplit_once("started successfully on port ")?.1.parse().ok()
}

/// Chromium's own sandbox does not start as root, nor in most containers; the only page that it opens here is the demo's.
const SWITCHES: [&str; 4] = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
/// Of the same version as the Chromium that it starts.
const PROGRAM: &str = "chromedriver";
const HINT: &str = "Debian has it: `apt-get install --no-install-recommends chromium chromium-driver`";
/// How long a script may run: milliseconds as a rule, seconds where the machine is busy.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_where_it_is_told() {
        assert_eq!(port("ChromeDriver was started successfully on port 42997.\n"), Some(42997));
        assert_eq!(port("Starting ChromeDriver 156.0.8078.79 (a21ce95c) on port 0\n"), None);
    }
}
