//! The shipped configurations, and what a test run changes in them.
//!
//! Tests run what operators run: `config/edge.yaml` and `config/portcullis.yaml`, with other addresses, paths, certificates
//! and policies put in the places that an operator would edit. Only what a run asks for is added, such as the cluster of a rate
//! limit service, or taken away.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::Error;

/// The bootstrap, `config/edge.yaml`.
pub const EDGE: &str = include_str!("../config/edge.yaml");
/// The filter with its policy, `config/portcullis.yaml`.
pub const FILTER: &str = include_str!("../config/portcullis.yaml");

/// The policy in `config/portcullis.yaml`.
///
/// # Errors
/// [`Error::Shipped`] if the file is not as it was shipped.
pub fn shipped_policy() -> Result<Value, Error> {
    let mut filter = parse(FILTER)?;
    let text = place(&mut filter, POLICY)?.as_str().unwrap_or_default();
    serde_json::from_str(text).map_err(|error| Error::Shipped { place: format!("{POLICY}: {error}") })
}

/// The buffer limits that hold.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BufferLimits {
    /// Envoy's own: 1 MiB for listener and cluster alike.
    EnvoyDefaults,
    /// Those of `config/edge.yaml`.
    #[default]
    Shipped,
}

/// On which side of Portcullis another filter stands.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Position {
    /// Towards the client: it sees requests first, and responses last.
    Before,
    /// Towards the upstream: it sees requests last, and responses first.
    Behind,
}

impl Position {
    /// The name of a filter there.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Behind => "behind",
        }
    }
}

/// What becomes of a worker whose module has trapped.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FailurePolicy {
    /// It refuses every request from then on, as `config/portcullis.yaml` has it.
    #[default]
    FailClosed,
    /// It loads the module again.
    FailReload,
}

impl FailurePolicy {
    const fn name(self) -> &'static str {
        match self {
            Self::FailClosed => "FAIL_CLOSED",
            Self::FailReload => "FAIL_RELOAD",
        }
    }
}

/// `config/edge.yaml` on its way to a run on loopback.
pub(crate) struct Bootstrap(Value);

impl Bootstrap {
    /// The shipped file with free ports on loopback, before `upstream`, without TLS.
    pub(crate) fn shipped(upstream: SocketAddr) -> Result<Self, Error> {
        let mut bootstrap = Self(parse(EDGE)?);
        bootstrap.set("/admin/address", socket_address(SocketAddr::from(([127, 0, 0, 1], 0))))?;
        bootstrap.set(&format!("{LISTENER}/address"), socket_address(SocketAddr::from(([127, 0, 0, 1], 0))))?;
        bootstrap.set(&format!("{REDIRECT}/address"), socket_address(SocketAddr::from(([127, 0, 0, 1], 0))))?;
        bootstrap.set(&format!("{CLUSTER}/type"), json!("STATIC"))?;
        let endpoint = "load_assignment/endpoints/0/lb_endpoints/0/endpoint";
        bootstrap.set(&format!("{CLUSTER}/{endpoint}/address"), socket_address(upstream))?;
        Ok(bootstrap)
    }

    /// Adds the cluster `ratelimit`: a service that speaks gRPC at `address`.
    pub(crate) fn rate_limit_service(&mut self, address: SocketAddr) -> Result<(), Error> {
        // gRPC is HTTP/2 only, and over plain text nothing negotiates it.
        let options = json!({"@type": HTTP_OPTIONS, "explicit_http_config": {"http2_protocol_options": {}}});
        self.cluster(RATE_LIMIT_SERVICE, address, &json!({HTTP_OPTIONS_NAME: options}))
    }

    /// Adds the cluster `name`: a service that speaks HTTP/1.1 in plain text at `address`.
    pub(crate) fn service(&mut self, name: &str, address: SocketAddr) -> Result<(), Error> {
        self.cluster(name, address, &json!({}))
    }

    fn cluster(&mut self, name: &str, address: SocketAddr, options: &Value) -> Result<(), Error> {
        let endpoint = json!({"endpoint": {"address": socket_address(address)}});
        let cluster = json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": options,
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        });
        let clusters = place(&mut self.0, CLUSTERS)?.as_array_mut();
        clusters.map(|clusters| clusters.push(cluster)).ok_or_else(|| missing(CLUSTERS))
    }

    /// Takes the client's address from `X-Forwarded-For`, from behind so many proxies.
    pub(crate) fn trusted_hops(&mut self, count: u32) -> Result<(), Error> {
        let http = place(&mut self.0, HTTP)?.as_object_mut().ok_or_else(|| missing(HTTP))?;
        http.insert("xff_num_trusted_hops".into(), json!(count));
        Ok(())
    }

    /// Takes the client's address from `X-Forwarded-For` alone, as Envoy does where nothing else is said.
    pub(crate) fn without_remote_address(&mut self) -> Result<(), Error> {
        self.remove(HTTP, "use_remote_address")
    }

    /// Puts a route for `path` in front of the shipped one, which differs from it in having this metadata for `filter`.
    pub(crate) fn route(&mut self, path: &str, filter: &str, metadata: &Value) -> Result<(), Error> {
        const ROUTES: &str = "route_config/virtual_hosts/0/routes";
        let routes = place(&mut self.0, &format!("{HTTP}/{ROUTES}"))?.as_array_mut();
        let routes = routes.ok_or_else(|| missing(ROUTES))?;
        let mut route = routes.last().cloned().ok_or_else(|| missing(ROUTES))?;
        *place(&mut route, "/match")? = json!({"prefix": path});
        let object = route.as_object_mut().ok_or_else(|| missing(ROUTES))?;
        object.insert("metadata".into(), json!({"filter_metadata": {filter: metadata}}));
        routes.insert(0, route);
        Ok(())
    }

    /// Takes the filter from `file` in `folder`.
    pub(crate) fn filter_file(&mut self, folder: &Path, file: &Path) -> Result<(), Error> {
        self.set(&format!("{HTTP}/{FILTER_SOURCE}"), path_source(folder, file))
    }

    /// Adds a listener that differs from the first in its name, and in the file that its filter is taken from.
    pub(crate) fn second_listener(&mut self, folder: &Path, file: &Path) -> Result<(), Error> {
        let first = place(&mut self.0, LISTENER)?.clone();
        let listeners = place(&mut self.0, LISTENERS)?.as_array_mut().ok_or_else(|| missing(LISTENERS))?;
        listeners.push(first);
        self.set(&format!("{SECOND}/name"), json!(SECOND_LISTENER))?;
        self.set(&format!("{}/{FILTER_SOURCE}", HTTP.replace(LISTENER, SECOND)), path_source(folder, file))
    }

    /// Leaves the filter out.
    pub(crate) fn without_filter(&mut self) -> Result<(), Error> {
        let filters = place(&mut self.0, &format!("{HTTP}/http_filters"))?.as_array_mut();
        filters.map(|filters| filters.remove(0)).map(drop).ok_or_else(|| missing("http_filters"))
    }

    /// Adds a filter that runs `module`, which reads `configuration`.
    pub(crate) fn neighbour(&mut self, position: Position, module: &Path, configuration: &str) -> Result<(), Error> {
        let name = position.name();
        let filter = json!({"name": name, "typed_config": {"@type": WASM_FILTER, "config": {
            "name": name,
            "vm_config": {"vm_id": name, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}},
            "configuration": {"@type": STRING, "value": configuration},
        }}});
        let filters = place(&mut self.0, &format!("{HTTP}/http_filters"))?.as_array_mut();
        let filters = filters.ok_or_else(|| missing("http_filters"))?;
        let index = match position {
            Position::Before => 0,
            // The router is the last one.
            Position::Behind => filters.len().saturating_sub(1),
        };
        filters.insert(index, filter);
        Ok(())
    }

    /// Adds a filter in front of all others.
    pub(crate) fn first_filter(&mut self, filter: Value) -> Result<(), Error> {
        let filters = place(&mut self.0, &format!("{HTTP}/http_filters"))?.as_array_mut();
        filters.map(|filters| filters.insert(0, filter)).ok_or_else(|| missing("http_filters"))
    }

    /// Presents this certificate chain, with its key; both in PEM.
    pub(crate) fn certificate(&mut self, chain: &str, key: &str) -> Result<(), Error> {
        let certificate = json!({"certificate_chain": {"inline_string": chain}, "private_key": {"inline_string": key}});
        self.set(&format!("{CHAIN}/transport_socket/typed_config/common_tls_context/tls_certificates/0"), certificate)
    }

    /// Serves plaintext.
    pub(crate) fn without_tls(&mut self) -> Result<(), Error> {
        self.remove(CHAIN, "transport_socket")
    }

    /// Takes paths as they come.
    pub(crate) fn without_path_rules(&mut self) -> Result<(), Error> {
        ["normalize_path", "merge_slashes", "path_with_escaped_slashes_action"]
            .iter()
            .try_for_each(|key| self.remove(HTTP, key))
    }

    /// Gives a peer this long to end its connection.
    pub(crate) fn delayed_close(&mut self, span: &str) -> Result<(), Error> {
        self.set(&format!("{HTTP}/delayed_close_timeout"), json!(span))
    }

    /// Leaves all buffer limits to Envoy.
    pub(crate) fn without_buffer_limits(&mut self) -> Result<(), Error> {
        self.remove(LISTENER, "per_connection_buffer_limit_bytes")?;
        self.remove(CLUSTER, "per_connection_buffer_limit_bytes")?;
        self.remove(&format!("{HTTP}/route_config/virtual_hosts/0/routes/0"), "request_body_buffer_limit")
    }

    /// The file's content, as JSON.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }

    fn set(&mut self, pointer: &str, value: Value) -> Result<(), Error> {
        *place(&mut self.0, pointer)? = value;
        Ok(())
    }

    fn remove(&mut self, pointer: &str, key: &str) -> Result<(), Error> {
        let object = place(&mut self.0, pointer)?.as_object_mut();
        object.and_then(|object| object.remove(key)).map(drop).ok_or_else(|| missing(&format!("{pointer}/{key}")))
    }
}

/// `config/portcullis.yaml` with another module, policy, environment and failure policy, as JSON.
pub(crate) fn filter(
    module: &Path,
    policy: &Value,
    variables: &BTreeMap<String, String>,
    failure_policy: FailurePolicy,
) -> Result<Vec<u8>, Error> {
    let mut filter = parse(FILTER)?;
    *place(&mut filter, &format!("{PLUGIN}/vm_config/code/local/filename"))? = json!(module);
    *place(&mut filter, &format!("{PLUGIN}/vm_config/environment_variables"))? = json!({"key_values": variables});
    *place(&mut filter, &format!("{PLUGIN}/failure_policy"))? = json!(failure_policy.name());
    *place(&mut filter, POLICY)? = json!(policy.to_string());
    Ok(filter.to_string().into_bytes())
}

fn parse(yaml: &str) -> Result<Value, Error> {
    serde_saphyr::from_str(yaml).map_err(|error| Error::Shipped { place: error.to_string() })
}

fn place<'a>(value: &'a mut Value, pointer: &str) -> Result<&'a mut Value, Error> {
    value.pointer_mut(pointer).ok_or_else(|| missing(pointer))
}

fn missing(pointer: &str) -> Error {
    Error::Shipped { place: format!("{pointer} is missing") }
}

fn path_source(folder: &Path, file: &Path) -> Value {
    json!({"path": file, "watched_directory": {"path": folder}})
}

fn socket_address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// The name of the first listener in `config/edge.yaml`.
pub(crate) const FIRST_LISTENER: &str = "edge";
/// That of the one beside it.
pub(crate) const SECOND_LISTENER: &str = "second";
const LISTENERS: &str = "/static_resources/listeners";
/// The listener that redirects plain HTTP.
const REDIRECT: &str = "/static_resources/listeners/1";
const SECOND: &str = "/static_resources/listeners/2";
const FILTER_SOURCE: &str = "http_filters/0/config_discovery/config_source/path_config_source";
const LISTENER: &str = "/static_resources/listeners/0";
const CHAIN: &str = "/static_resources/listeners/0/filter_chains/0";
const HTTP: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const CLUSTERS: &str = "/static_resources/clusters";
const CLUSTER: &str = "/static_resources/clusters/0";
/// The name in the policy's documentation.
const RATE_LIMIT_SERVICE: &str = "ratelimit";
const HTTP_OPTIONS_NAME: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const HTTP_OPTIONS: &str = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const WASM_FILTER: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const STRING: &str = "type.googleapis.com/google.protobuf.StringValue";
const PLUGIN: &str = "/resources/0/typed_config/config";
const POLICY: &str = "/resources/0/typed_config/config/configuration/value";

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> Bootstrap {
        Bootstrap::shipped(SocketAddr::from(([127, 0, 0, 1], 7))).unwrap()
    }

    #[track_caller]
    fn check(bootstrap: &Bootstrap, pointer: &str, expected: Option<Value>) {
        assert_eq!(bootstrap.0.pointer(pointer), expected.as_ref(), "{pointer}");
    }

    #[test]
    fn a_run_is_on_loopback_only() {
        let bootstrap = shipped();
        let free = json!({"address": "127.0.0.1", "port_value": 0});
        check(&bootstrap, "/admin/address/socket_address", Some(free.clone()));
        check(&bootstrap, "/static_resources/listeners/0/address/socket_address", Some(free));
        let text = bootstrap.0.to_string();
        assert!(!text.contains("0.0.0.0") && !text.contains(r#""address":"application""#));
    }

    #[test]
    fn a_run_can_do_without_filter_tls_and_limits() {
        let mut bootstrap = shipped();
        check(&bootstrap, &format!("{HTTP}/http_filters/0/name"), Some(json!("portcullis")));
        bootstrap.without_filter().unwrap();
        check(&bootstrap, &format!("{HTTP}/http_filters/0/name"), Some(json!("envoy.filters.http.router")));
        bootstrap.without_tls().unwrap();
        check(&bootstrap, &format!("{CHAIN}/transport_socket"), None);
        bootstrap.without_buffer_limits().unwrap();
        assert!(!bootstrap.0.to_string().contains("buffer_limit"));
    }

    #[test]
    fn a_run_can_have_filters_on_both_sides() {
        let mut bootstrap = shipped();
        bootstrap.neighbour(Position::Before, Path::new("/run/before.wasm"), "").unwrap();
        bootstrap.neighbour(Position::Behind, Path::new("/run/behind.wasm"), "hold").unwrap();
        for (index, name) in ["before", "portcullis", "behind", "envoy.filters.http.router"].iter().enumerate() {
            check(&bootstrap, &format!("{HTTP}/http_filters/{index}/name"), Some(json!(name)));
        }
        let plugin = format!("{HTTP}/http_filters/2/typed_config/config");
        check(&bootstrap, &format!("{plugin}/vm_config/code/local/filename"), Some(json!("/run/behind.wasm")));
        check(&bootstrap, &format!("{plugin}/configuration/value"), Some(json!("hold")));
    }

    #[test]
    fn a_run_can_have_a_filter_of_envoys_own() {
        let mut bootstrap = shipped();
        bootstrap.neighbour(Position::Before, Path::new("/run/before.wasm"), "").unwrap();
        bootstrap.first_filter(json!({"name": "first"})).unwrap();
        for (index, name) in ["first", "before", "portcullis"].iter().enumerate() {
            check(&bootstrap, &format!("{HTTP}/http_filters/{index}/name"), Some(json!(name)));
        }
    }

    #[test]
    fn a_run_can_have_a_rate_limit_service() {
        let mut bootstrap = shipped();
        check(&bootstrap, &format!("{CLUSTERS}/1"), None);
        bootstrap.rate_limit_service(SocketAddr::from(([127, 0, 0, 1], 9))).unwrap();
        check(&bootstrap, &format!("{CLUSTERS}/0/name"), Some(json!("application")));
        check(&bootstrap, &format!("{CLUSTERS}/1/name"), Some(json!("ratelimit")));
        let endpoint = "load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
        let address = json!({"address": "127.0.0.1", "port_value": 9});
        check(&bootstrap, &format!("{CLUSTERS}/1/{endpoint}"), Some(address));
        let text = bootstrap.0.to_string();
        assert!(text.contains(r#""explicit_http_config":{"http2_protocol_options":{}}"#), "{text}");
    }

    #[test]
    fn a_run_can_be_behind_proxies() {
        let mut bootstrap = shipped();
        check(&bootstrap, &format!("{HTTP}/use_remote_address"), Some(json!(true)));
        let mut without = shipped();
        without.without_remote_address().unwrap();
        check(&without, &format!("{HTTP}/use_remote_address"), None);
        check(&bootstrap, &format!("{HTTP}/xff_num_trusted_hops"), None);
        bootstrap.trusted_hops(1).unwrap();
        check(&bootstrap, &format!("{HTTP}/xff_num_trusted_hops"), Some(json!(1)));
    }

    #[test]
    fn a_run_can_have_a_second_listener() {
        let mut bootstrap = shipped();
        bootstrap.filter_file(Path::new("/run"), Path::new("/run/first")).unwrap();
        bootstrap.second_listener(Path::new("/run"), Path::new("/run/second")).unwrap();
        for (index, name, file) in [(0, FIRST_LISTENER, "/run/first"), (2, SECOND_LISTENER, "/run/second")] {
            let http = HTTP.replace("listeners/0", &format!("listeners/{index}"));
            check(&bootstrap, &format!("{LISTENERS}/{index}/name"), Some(json!(name)));
            check(&bootstrap, &format!("{http}/{FILTER_SOURCE}/path"), Some(json!(file)));
            check(&bootstrap, &format!("{http}/http_filters/0/name"), Some(json!("portcullis")));
        }
    }

    #[test]
    fn a_run_can_take_paths_as_they_come() {
        let mut bootstrap = shipped();
        check(&bootstrap, &format!("{HTTP}/path_with_escaped_slashes_action"), Some(json!("REJECT_REQUEST")));
        bootstrap.without_path_rules().unwrap();
        let text = bootstrap.0.to_string();
        assert!(!["normalize_path", "merge_slashes", "escaped_slashes"].iter().any(|key| text.contains(key)));
    }

    #[test]
    fn a_run_can_cut_peers_earlier() {
        let mut bootstrap = shipped();
        bootstrap.delayed_close("0.1s").unwrap();
        check(&bootstrap, &format!("{HTTP}/delayed_close_timeout"), Some(json!("0.1s")));
    }

    #[test]
    fn the_cluster_buffers_half_of_the_listener_and_the_route_more() {
        let bootstrap = shipped();
        let limit = |pointer: &str| bootstrap.0.pointer(pointer).and_then(Value::as_u64).unwrap();
        let listener = limit(&format!("{LISTENER}/per_connection_buffer_limit_bytes"));
        assert_eq!(limit(&format!("{CLUSTER}/per_connection_buffer_limit_bytes")) * 2, listener);
        assert!(limit(&format!("{HTTP}/route_config/virtual_hosts/0/routes/0/request_body_buffer_limit")) > listener);
    }

    #[test]
    fn the_filter_file_takes_module_policy_and_environment() {
        let variables = BTreeMap::from([("KEY".to_owned(), "value".to_owned())]);
        let policy = json!({"mode": "monitor"});
        let bytes = filter(Path::new("/m.wasm"), &policy, &variables, FailurePolicy::FailReload).unwrap();
        let mut filter: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(place(&mut filter, POLICY).unwrap(), r#"{"mode":"monitor"}"#);
        assert_eq!(place(&mut filter, PLUGIN).unwrap()["failure_policy"], "FAIL_RELOAD");
        let machine = place(&mut filter, &format!("{PLUGIN}/vm_config")).unwrap();
        assert_eq!(machine["code"]["local"]["filename"], "/m.wasm");
        assert_eq!(machine["environment_variables"], json!({"key_values": {"KEY": "value"}}));
    }

    #[test]
    fn the_default_failure_policy_is_the_shipped_one() {
        let mut filter = parse(FILTER).unwrap();
        assert_eq!(place(&mut filter, PLUGIN).unwrap()["failure_policy"], FailurePolicy::default().name());
    }

    #[test]
    fn the_shipped_policy_is_json() {
        assert_eq!(shipped_policy().unwrap()["mode"], "enforce");
    }
}
