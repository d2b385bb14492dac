//! `portcullis`, the operator's tool: what the filter says of a policy, before Envoy has it.

mod check;
mod claims;
mod deployment;
mod document;
mod envoy_yaml;
mod explain;
mod har;
mod hint;
mod keys;
mod messages;
mod rules;
mod schema;
mod surroundings;

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, fs, io};

use check::{Absent, Report, Variables};
use claims::Place;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use keys::{Kind, Signer};
use portcullis_core::config::Parsed;
use portcullis_core::violation::Violation;
use serde_json::Value;

/// The operator's tool of Portcullis, the WebSocket security filter.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks policies with the filter's own parser, and names all faults, each with its line and column.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Check),
    /// Says what the filter would decide about a handshake and messages, and why. Services are not asked.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),
    /// Prints the JSON Schema of policies, for editors.
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema,
    /// Makes a key: a secret is printed; of a pair, the private key goes into a new file, and the JWK Set is printed.
    #[command(after_help = KEYGEN_EXAMPLES)]
    Keygen {
        /// What it is for.
        kind: Kind,
        /// The new file for the private key of a pair.
        #[arg(long, value_name = "FILE", required_if_eq_any([("kind", "rs256"), ("kind", "es256"), ("kind", "eddsa")]))]
        private: Option<PathBuf>,
        /// The name of the key.
        #[arg(long, default_value = "1")]
        kid: String,
    },
    /// Signs a JWT, to try a policy with.
    #[command(after_help = TOKEN_EXAMPLES)]
    Token(Token),
    /// Issues a ticket as Envoy does, for a policy whose tickets any Envoy takes that has their keys (store: rate_limit_service).
    #[command(after_help = TICKET_EXAMPLES)]
    Ticket(Asked),
    /// Prints what completes the arguments of this command in a shell.
    #[command(after_help = "Examples:\n  portcullis completions bash > /etc/bash_completion.d/portcullis")]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

const KEYGEN_EXAMPLES: &str = "\
Examples:
  SESSION_KEY=$(portcullis keygen hs256)                        for jwks: {secret: {env: SESSION_KEY}}
  TICKET_KEY=$(portcullis keygen ticket)                        for auth.tickets.keys: [{env: TICKET_KEY}]
  portcullis keygen es256 --private key.pem > jwks.json         for jwks: {inline: …}";

const TOKEN_EXAMPLES: &str = "\
Examples:
  portcullis token --key key.pem --kid 1 --claims '{\"iss\": \"https://idp.example.com/\", \"aud\": \"chat\", \"sub\": \"alice\"}'
  portcullis token --secret-env SESSION_KEY --claims '{\"sub\": \"alice\"}' --expires-in 60";

const TICKET_EXAMPLES: &str = "\
Examples:
  portcullis ticket --env TICKET_KEY policy.yaml https://chat.example.com/ws-ticket -H 'Origin: https://app.example.com' \\
      --claims '{\"sub\": \"alice\"}'

It is bound to what auth.tickets.bind says: the Origin here, and the address that the client has before Envoy (--address).";

#[derive(Args, Debug)]
struct Token {
    #[command(flatten)]
    signer: SignerArguments,
    /// The name of the key.
    #[arg(long)]
    kid: Option<String>,
    /// The claims, a JSON object; iat and exp are added.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    claims: String,
    /// How long the token is good, in seconds. Below zero it has expired; a policy takes it for clock_skew more (60 s by default).
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600, allow_negative_numbers = true)]
    expires_in: i64,
}

/// What signs a token.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct SignerArguments {
    /// A private key of RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA), PKCS #8 in PEM.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The variable of the environment with the secret (HS256). It is no argument: all users of a machine see those.
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,
}

const SCHEMA_EXAMPLES: &str = "\
Examples:
  portcullis schema > portcullis.schema.json
  # yaml-language-server: $schema=portcullis.schema.json      (the first line of a policy in YAML)

A policy that the schema accepts may still be refused: combinations, bounds and patterns are for portcullis check.";

const CHECK_EXAMPLES: &str = "\
Examples:
  portcullis check policy.yaml
  portcullis check --allow-missing-env envoy.yaml istio/*.yaml
  kubectl kustomize istio | portcullis check --allow-missing-env -
  portcullis check --env PORTCULLIS_SESSION_KEY - < policy.json
  portcullis check --json --env-file secrets.env policy.yaml | jq '.[].faults'

A file is a policy in YAML or JSON, or has policies in it: in a WasmPlugin, an EnvoyExtensionPolicy, an EnvoyFilter, a ConfigMap, or a
configuration of Envoy. What a policy is deployed in is judged too, as far as it is in the same file: variables that are not passed on, and
fields and values that its API refuses, are faults; failing open, and what goes against the policy, are warnings.

Exit code: 0 the filter takes all policies, 1 one of them or what is around it is refused, 2 wrong usage, a file that cannot be read, or no
policy in any. A file without a policy beside others is a note on the standard error.";

#[derive(Args, Debug)]
struct Check {
    /// The files; - is the standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    variables: VariableArguments,
    /// Prints JSON: a list with an object for each file.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct VariableArguments {
    /// A variable that the policy finds in vm_config.environment_variables; without a value, that of this process.
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// A file of such variables, NAME=VALUE in each line.
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Takes a placeholder that is long enough for any key where the value of a variable is not given.
    #[arg(long)]
    allow_missing_env: bool,
}

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  portcullis explain policy.yaml 'https://chat.example.com/rooms?x' -H 'Origin: https://app.example.com' --address 192.0.2.1
  portcullis explain policy.yaml wss://chat.example.com/ -H 'Origin: https://app.example.com' -H \"Authorization: Bearer $TOKEN\" \\
      --message '{\"type\": \"say\", \"text\": \"hello\"}'
  portcullis explain policy.yaml wss://chat.example.com/ -H 'Origin: https://app.example.com' --claims '{\"sub\": \"alice\", \"role\": \"admin\"}'
  portcullis explain policy.yaml --har chat.example.com.har

removed, changed and added say what the upstream gets in place of what the client sent.

Counts begin at zero, so no rate and no limit of connections is met. Exit code: 0 all of it passes, though some of it because of monitor
mode, 1 something does not or is not judged, 2 wrong usage.";

#[derive(Args, Debug)]
struct Explain {
    #[command(flatten)]
    asked: Asked,
    /// An archive of a browser (HAR) with the handshake, in place of the URL: its first WebSocket, with what the page sent.
    #[arg(long, value_name = "FILE", conflicts_with = "url", required_unless_present = "url")]
    har: Option<PathBuf>,
    /// Another entry of the archive, from 0 on.
    #[arg(long, value_name = "NUMBER", requires = "har")]
    entry: Option<usize>,
    /// A text message that the client sends then; in order, each after the other.
    #[arg(long = "message", value_name = "TEXT")]
    messages: Vec<String>,
    /// The subprotocol that the upstream chooses; an archive says which.
    #[arg(long)]
    subprotocol: Option<String>,
}

/// A request, and the policy that judges it.
#[derive(Args, Debug)]
struct Asked {
    /// The policy, as for check.
    policy: PathBuf,
    /// What is asked for; https and wss are TLS.
    url: Option<String>,
    /// A header of the request.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The address of the client.
    #[arg(long, default_value = "192.0.2.1")]
    address: String,
    /// Claims of the client, in place of a token: a JSON object. The provider is that of iss, or the first one.
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,
    #[command(flatten)]
    variables: VariableArguments,
}

/// What is to be judged.
struct Question {
    /// As it is written.
    policy: Value,
    parsed: Parsed,
    url: String,
    headers: Vec<String>,
}

impl Asked {
    /// With `url` where the arguments have none.
    fn question(&self, url: Option<String>, headers: Vec<String>) -> Result<Question, String> {
        let name = self.policy.display();
        let text = read(&self.policy).map_err(|error| format!("{name}: {error}"))?;
        let mut written = check::written(&text).map_err(|problem| format!("{name}: {problem}"))?;
        let mut variables = variables(&self.variables)?;
        variables.known.extend(core::mem::take(&mut written.variables));
        let mut url = self.url.clone().or(url).ok_or("needs a URL")?;
        let mut headers = [headers, self.headers.clone()].concat();
        if let Some(claims) = &self.claims {
            let claims = serde_json::from_str(claims).map_err(|_| "--claims: expected a JSON object".to_owned())?;
            let claimed = claims::claim(written.policy, claims, now()?.as_secs())?;
            written.policy = claimed.policy;
            match claimed.place {
                Place::Header(line) => headers.push(line),
                Place::Query(parameter) => {
                    url.push(if url.contains('?') { '&' } else { '?' });
                    url.push_str(&parameter);
                }
            }
        }
        let parsed = check::parsed(&written, &variables).map_err(|problem| format!("{name}: {problem}"))?;
        Ok(Question { policy: written.policy, parsed, url, headers })
    }
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Explain(arguments) => end(run_explain(&arguments)),
        Command::Check(arguments) => end(run_check(&arguments)),
        Command::Keygen { kind, private, kid } => end(run_keygen(kind, private.as_deref(), &kid).map(|()| true)),
        Command::Token(arguments) => end(run_token(&arguments).map(|()| true)),
        Command::Ticket(asked) => end(run_ticket(&asked)),
        Command::Schema => {
            let _ = writeln!(io::stdout(), "{:#}", schema::schema());
            ExitCode::SUCCESS
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "portcullis", &mut io::stdout());
            ExitCode::SUCCESS
        }
    }
}

/// 0 where all is well, 1 where a policy is refused, 2 where the question could not be answered.
fn end(outcome: Result<bool, String>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problem) => {
            eprintln!("portcullis: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run_explain(arguments: &Explain) -> Result<bool, String> {
    let entry = match &arguments.har {
        Some(file) => {
            let text = read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            Some(har::entry(&text, arguments.entry)?)
        }
        None => None,
    };
    let skipped_count = entry.as_ref().map_or(0, |entry| entry.skipped_count);
    let chosen = entry.as_ref().and_then(|entry| entry.subprotocol.clone());
    let (url, headers, sent) =
        entry.map_or_else(Default::default, |entry| (Some(entry.url), entry.headers, entry.messages));
    let Question { parsed, url, headers, .. } = arguments.asked.question(url, headers)?;
    let handshake = explain::handshake(&url, &headers, &arguments.asked.address)?;
    let messages = [sent, arguments.messages.clone()].concat();
    let subprotocol = arguments.subprotocol.as_deref().or(chosen.as_deref());
    let told = explain::explain(parsed, now()?.as_secs(), &handshake, subprotocol, &messages)?;
    let mut text = told.text;
    if skipped_count > 0 {
        let messages = if skipped_count == 1 { "message" } else { "messages" };
        let _ = writeln!(text, "not judged: {skipped_count} binary {messages} of the archive");
    }
    if arguments.asked.claims.is_some() {
        text.push_str("note: --claims stands for a good token: no key and no signature is checked\n");
    }
    match told.refusal {
        Some(Violation::CredentialMissing) if arguments.har.is_some() => {
            text.push_str("note: browsers leave cookies out of an archive, unless it is to have sensitive data: give them with -H, or --claims\n");
        }
        Some(Violation::CredentialInvalid) if arguments.asked.variables.allow_missing_env => {
            text.push_str(
                "note: with --allow-missing-env no signature by a secret is good: give the secret, or --claims\n",
            );
        }
        _ => {}
    }
    writeln!(io::stdout(), "{}", text.trim_end()).map_err(|error| error.to_string())?;
    Ok(told.passes && skipped_count == 0)
}

fn run_ticket(asked: &Asked) -> Result<bool, String> {
    let Question { policy, parsed, url, headers } = asked.question(None, Vec::new())?;
    if policy.pointer("/auth/tickets").is_some_and(|tickets| tickets["store"]["rate_limit_service"] != true) {
        return Err("auth.tickets.store is local: an Envoy takes only tickets that it has issued itself".to_owned());
    }
    let request = explain::request("POST", &url, &headers, &asked.address)?;
    let explained = explain::answer(parsed, now()?.as_secs(), &request)?;
    let Some((status, body)) = explained.reply else {
        return Err(format!("no ticket is issued at {url}: auth.tickets.path says where"));
    };
    writeln!(io::stdout(), "{body}").map_err(|error| error.to_string())?;
    Ok(status == 201)
}

fn now() -> Result<Duration, String> {
    SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| "the clock is before 1970".to_owned())
}

fn run_keygen(kind: Kind, private: Option<&Path>, kid: &str) -> Result<(), String> {
    let printed = match (keys::pair(kind, kid)?, private) {
        (None, _) => keys::secret()?,
        (Some(pair), Some(path)) => {
            keys::write_private(path, &pair.private)?;
            format!("{:#}", pair.jwks)
        }
        (Some(_), None) => return Err("the private key needs a file: --private".to_owned()),
    };
    writeln!(io::stdout(), "{printed}").map_err(|error| error.to_string())
}

fn run_token(arguments: &Token) -> Result<(), String> {
    let claims = serde_json::from_str(&arguments.claims).map_err(|_| "--claims: expected a JSON object".to_owned())?;
    let SignerArguments { key, secret_env } = &arguments.signer;
    let secret = match (secret_env, key) {
        (Some(name), _) => env::var(name).map_err(|_| format!("{name} is not in the environment"))?,
        (None, Some(path)) => read(path).map_err(|error| format!("{}: {error}", path.display()))?,
        (None, None) => return Err("needs --key or --secret-env".to_owned()),
    };
    let signer = if secret_env.is_some() { Signer::Secret(&secret) } else { Signer::Pem(&secret) };
    let times = (now()?.as_secs(), arguments.expires_in);
    let token = keys::token(&signer, arguments.kid.as_deref(), claims, times)?;
    writeln!(io::stdout(), "{token}").map_err(|error| error.to_string())
}

/// Prints what is found in all files. Returns whether all policies hold.
fn run_check(arguments: &Check) -> Result<bool, String> {
    let variables = variables(&arguments.variables)?;
    let mut reports: Vec<(String, Report)> = Vec::new();
    let mut without: Vec<(String, Absent)> = Vec::new();
    for file in &arguments.files {
        let name = if is_stdin(file) { "<stdin>".to_owned() } else { file.display().to_string() };
        let text = read(file).map_err(|error| format!("{name}: {error}"))?;
        match check::check(&text, &variables) {
            Ok(report) => reports.push((name, report)),
            Err(absent) => without.push((name, absent)),
        }
    }
    let output = if arguments.json {
        let reports = reports.iter().map(|(name, report)| report.json(name));
        let list = reports.chain(without.iter().map(|(name, absent)| absent.json(name))).collect();
        format!("{:#}\n", Value::Array(list))
    } else {
        reports.iter().map(|(name, report)| report.text(name)).collect()
    };
    if !arguments.json {
        // They may be objects of the same deployment.
        without.iter().for_each(|(name, absent)| eprint!("{}", absent.text(name)));
    }
    // The reader of the pipe may have gone: the exit code tells all the same.
    let _ = io::stdout().write_all(output.as_bytes());
    if reports.is_empty() {
        return Err("no policy to check".to_owned());
    }
    Ok(reports.iter().all(|(_, report)| report.is_good()))
}

fn variables(arguments: &VariableArguments) -> Result<Variables, String> {
    let mut variables = Variables { allow_missing: arguments.allow_missing_env, ..Variables::default() };
    for file in &arguments.env_file {
        let text = read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for (index, line) in lines.enumerate() {
            let pair = line.split_once('=');
            let (name, value) =
                pair.ok_or_else(|| format!("{}: variable {} has no value", file.display(), index.saturating_add(1)))?;
            variables.known.insert(name.to_owned(), value.to_owned());
        }
    }
    for argument in &arguments.env {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => {
                (argument.as_str(), env::var(argument).map_err(|_| format!("{argument} is not in the environment"))?)
            }
        };
        variables.known.insert(name.to_owned(), value);
    }
    Ok(variables)
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn read(file: &Path) -> io::Result<String> {
    if !is_stdin(file) {
        return fs::read_to_string(file);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}
