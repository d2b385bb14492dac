//! A filter as its author would write it with the proxy-wasm SDK: another filter in the chain of the tests with a real Envoy, and
//! what Portcullis is measured against.
//!
//! Each line of its configuration is one thing that it does:
//!
//! ```text
//! request NAME: VALUE    sets a header of each request
//! response NAME: VALUE   sets a header of each response
//! note NAME              logs the headers of each request as it sees them, behind this name
//! read LEN               copies up to so many bytes of each chunk of a body, both ways
//! verify                 answers each request that has `x-verify`: Envoy's `verify_signature` of these bytes, both in hexadecimal
//! hold request           pauses with each chunk of a request's body, and lets all go on that has come until its next tick
//! hold response          likewise; what it holds when the upstream ends its connection is lost, as Envoy 1.40 has it
//! ```

#![expect(missing_docs, reason = "the SDK's macro writes a function without any")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::<Plugin>::default());
}}

/// How long what is held waits at most: long enough that frames come together, and short beside what a test waits for an answer.
const TICK: Duration = Duration::from_millis(10);

/// What the configuration says.
#[derive(Default)]
struct Task {
    request: Vec<(String, String)>,
    response: Vec<(String, String)>,
    note: Option<String>,
    read_len: usize,
    verifies: bool,
    held: Directions,
}

impl Task {
    /// `None` where a line says nothing that is known.
    fn parse(text: &str) -> Option<Self> {
        let mut task = Self::default();
        for line in text.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("request", header) => task.request.push(parse_header(header)?),
                ("response", header) => task.response.push(parse_header(header)?),
                ("note", name) => task.note = Some(name.into()),
                ("read", len) => task.read_len = len.parse().ok()?,
                ("verify", "") => task.verifies = true,
                ("hold", "request") => task.held.request = true,
                ("hold", "response") => task.held.response = true,
                _ => return None,
            }
        }
        Some(task)
    }
}

fn parse_header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(": ")?;
    Some((name.into(), value.into()))
}

#[derive(Default)]
struct Directions {
    request: bool,
    response: bool,
}

/// Which directions of which streams are paused.
type Paused = Rc<RefCell<BTreeMap<u32, Directions>>>;

#[derive(Default)]
struct Plugin {
    task: Rc<Task>,
    paused: Paused,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _: usize) -> bool {
        let text = self.get_plugin_configuration().unwrap_or_default();
        let Some(task) = str::from_utf8(&text).ok().and_then(Task::parse) else { return false };
        if task.held.request || task.held.response {
            self.set_tick_period(TICK);
        }
        self.task = Rc::new(task);
        true
    }

    fn on_tick(&mut self) {
        for (id, directions) in self.paused.take() {
            // Streams that have ended are not among them.
            hostcalls::set_effective_context(id).expect("a stream that is there");
            if directions.request {
                hostcalls::resume_http_request().expect("a request that is paused");
            }
            if directions.response {
                hostcalls::resume_http_response().expect("a response that is paused");
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { id, task: Rc::clone(&self.task), paused: Rc::clone(&self.paused) }))
    }
}

struct Stream {
    id: u32,
    task: Rc<Task>,
    paused: Paused,
}

impl Context for Stream {
    fn on_done(&mut self) -> bool {
        self.paused.borrow_mut().remove(&self.id);
        true
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        if let Some(name) = &self.task.note {
            let line = format!("{name} sees {:?}", self.get_http_request_headers());
            hostcalls::log(LogLevel::Warn, &line).expect("a log");
        }
        if self.task.verifies
            && let Some(text) = self.get_http_request_header("x-verify")
        {
            let bytes = unhex(&text);
            let result =
                hostcalls::call_foreign_function("verify_signature", Some(&bytes)).map(Option::unwrap_or_default);
            match result {
                Ok(result) => self.send_http_response(200, vec![], Some(hex(&result).as_bytes())),
                Err(status) => self.send_http_response(500, vec![], Some(format!("{status:?}").as_bytes())),
            }
            return Action::Pause;
        }
        for (name, value) in &self.task.request {
            self.set_http_request_header(name, Some(value));
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        for (name, value) in &self.task.response {
            self.set_http_response_header(name, Some(value));
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, len: usize, _: bool) -> Action {
        if self.task.read_len > 0 {
            self.get_http_request_body(0, len.min(self.task.read_len));
        }
        if !self.task.held.request {
            return Action::Continue;
        }
        self.paused.borrow_mut().entry(self.id).or_default().request = true;
        Action::Pause
    }

    fn on_http_response_body(&mut self, len: usize, _: bool) -> Action {
        if self.task.read_len > 0 {
            self.get_http_response_body(0, len.min(self.task.read_len));
        }
        if !self.task.held.response {
            return Action::Continue;
        }
        self.paused.borrow_mut().entry(self.id).or_default().response = true;
        Action::Pause
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).filter_map(|digits| str::from_utf8(digits).ok());
    digits.map(|digits| u8::from_str_radix(digits, 16).expect("hexadecimal")).collect()
}
