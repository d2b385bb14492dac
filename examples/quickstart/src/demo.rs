//! `cargo demo`: starts everything, prints what to try, and runs until Ctrl-C.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use portcullis_envoy::Envoy;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::backend;
use crate::gate::{self, Gate};
use crate::playground::Playground;
use crate::policy::{ORIGIN, policy};
use crate::provider::Provider;
use crate::tokens::{Keys, SUBJECT};

/// The demo's gate before its own backend, with its identity provider and its playground.
pub(crate) struct Demo {
    pub(crate) gate: Arc<Gate>,
    pub(crate) keys: Arc<Keys>,
}

impl Demo {
    /// Starts all of it.
    ///
    /// # Errors
    /// No Envoy, or one that does not start.
    pub(crate) fn open(module: &Path) -> Result<Self, Box<dyn Error>> {
        let keys = Arc::new(Keys::generate()?);
        let provider = Arc::new(Provider::new(Arc::clone(&keys)));
        let playground = Arc::new(Playground::new(Arc::clone(&keys)));
        let backend = backend::start(Arc::clone(&provider), Arc::clone(&playground))?;
        let gate = Arc::new(Gate::open(module, &keys, policy(&keys), backend)?);
        provider.tell(gate.client()?);
        playground.open(&gate, gate.admit_own_page(policy(&keys))?)?;
        Ok(Self { gate, keys })
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // The playground holds the gate for as long as a play takes. The last one that holds it stops Envoy.
        let started = Instant::now();
        while Arc::strong_count(&self.gate) > 1 && started.elapsed() < PATIENCE {
            thread::sleep(PAUSE);
        }
    }
}

/// More than a play takes.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// Runs the demo until it is interrupted.
///
/// # Errors
/// No module, no Envoy, or one that does not start.
pub(crate) fn run() -> Result<ExitCode, Box<dyn Error>> {
    let module = gate::prepare()?;
    let Demo { gate, keys } = &Demo::open(&module)?;
    let authority = Authority::write(&gate.certificate.ca_pem)?;
    print!("{}", instructions(&gate.envoy, &keys.corp().text()?, authority.path()));
    wait()?;
    println!("\nstopping");
    Ok(ExitCode::SUCCESS)
}

/// The certificate of the authority in a file, for as long as the demo runs.
struct Authority(PathBuf);

impl Authority {
    fn write(pem: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("portcullis-demo-{}.pem", std::process::id()));
        fs::write(&path, pem)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        // It holds no secret, so one that is left behind does no harm.
        let _ = fs::remove_file(&self.0);
    }
}

/// Waits for Ctrl-C, or for the signal that ends services.
fn wait() -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}

fn instructions(envoy: &Envoy, token: &str, authority: &Path) -> String {
    let (port, admin, authority) = (envoy.address().port(), envoy.admin(), authority.display());
    format!(
        r#"
An Envoy with Portcullis runs before a chat service. Stop it with Ctrl-C.

The playground: attacks, what became of each, and the policy to change. The browser will warn that it does not know the CA

  https://localhost:{port}/

Its metrics, for Prometheus with the dashboard and the alerts of examples/monitoring

  http://{admin}/stats/prometheus

For your own client

  URL      wss://localhost:{port}/chat
  origin   {ORIGIN}
  CA       {authority}
  token    for {SUBJECT}, eight hours, in the first line below

Try it in another terminal. First, once:

  TOKEN={token}
  upgrade() {{ curl -sS -i -N --max-time 2 --http1.1 --cacert {authority} \
    -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
    -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' -H 'Sec-WebSocket-Protocol: chat.v1' \
    "$@" https://localhost:{port}/chat; }}

1. Alice, on the chat's own page: 101 and chat.v1 (curl then waits, and gives up after two seconds)

  upgrade -H 'Origin: {ORIGIN}' -H "Authorization: Bearer $TOKEN"

2. Alice's browser, on another site's page: 403 origin_refused

  upgrade -H 'Origin: {ORIGIN}.evil.example' -H "Authorization: Bearer $TOKEN"

3. A token that was tampered with: 401 credential_invalid

  upgrade -H 'Origin: {ORIGIN}' -H "Authorization: Bearer ${{TOKEN}}x"

To talk (with `pip install websockets`); also try "whoami", "send 2000000", or 'x' * 70000:

  python3 -c "
import ssl, sys
from websockets.sync.client import connect
trust = ssl.create_default_context(cafile='{authority}')
token = {{'Authorization': 'Bearer ' + sys.argv[1]}}
with connect('wss://localhost:{port}/chat', ssl=trust, origin='{ORIGIN}',
             subprotocols=['chat.v1'], additional_headers=token) as gate:
    gate.send('hello'); print(gate.recv())" "$TOKEN"
"#
    )
}
