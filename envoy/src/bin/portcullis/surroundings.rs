//! What a configuration of Envoy has around the filter that a policy relies on. Only what stands in the same file is judged.

use crate::check::{Placed, Report};
use crate::deployment::{Kind, Plugin};
use crate::document::{Node, join};
use crate::hint::nearest;

/// Envoy's own limit for listeners and clusters, in bytes.
const ENVOY_BUFFER_LIMIT: u64 = 1 << 20;

/// Where limits are explained.
const GUIDE: &str = "see \"Buffer limits\" in OPERATIONS.md";

/// Warns of what does not go with the policy.
pub(crate) fn judge(plugin: &Plugin<'_>, policy: &Node, documents: &[Node], report: &mut Report) {
    if plugin.kind != Kind::Envoy {
        return;
    }
    misspelt(plugin, report);
    let within = |is_it: &dyn Fn(&Node) -> bool| plugin.trail.iter().rev().find(|(_, node)| is_it(node));
    let manager = within(&|node| node.field("http_filters").is_some() && has_routes(node));
    if let Some((path, manager)) = manager {
        connection_manager(path, manager, report);
    }
    let chain = within(&|node| node.field("filters").is_some());
    if let Some((path, chain)) = chain {
        tls(path, chain, policy, report);
    }
    let listener =
        within(&|node| node.field("filter_chains").is_some() || node.field("default_filter_chain").is_some());
    if let (Some((path, listener)), Some((manager_path, manager))) = (listener, manager) {
        let routes = manager.field("route_config").map(|routes| (join(manager_path, "route_config"), routes));
        buffers(path, listener, routes, policy, documents, report);
    }
}

/// Warns of connection managers that read the filter from a file (ECDS): what they lack under any policy.
pub(crate) fn discovered(node: &Node, path: &str, report: &mut Report) {
    let is_wasm = |filter: &Node| {
        let types = filter.field("config_discovery").and_then(|own| own.field("type_urls"));
        types.is_some_and(|types| types.texts().iter().any(|name| name.ends_with(".http.wasm.v3.Wasm")))
    };
    if has_routes(node) && node.field("http_filters").is_some_and(|filters| filters.items().iter().any(is_wasm)) {
        connection_manager(path, node, report);
    }
    node.children().into_iter().for_each(|(step, child)| discovered(child, &join(path, &step), report));
}

/// Warns of a key on the way to the filter that is nearly one of Envoy's: Envoy, which does not look for filters but knows its keys, finds none.
fn misspelt(plugin: &Plugin<'_>, report: &mut Report) {
    const KEYS: [&str; 14] = [
        "config",
        "default_filter_chain",
        "filter_chain",
        "filter_chains",
        "filters",
        "http_filters",
        "listeners",
        "resources",
        "route",
        "route_config",
        "routes",
        "static_resources",
        "typed_config",
        "virtual_hosts",
    ];
    for ((_, outer), (path, inner)) in plugin.trail.iter().zip(plugin.trail.iter().skip(1)) {
        let Some((key, _)) = outer.members().iter().find(|(_, own)| std::ptr::eq(own, *inner)) else { continue };
        let is_known = KEYS.iter().any(|known| outer.field(known).is_some_and(|own| std::ptr::eq(own, *inner)));
        if let Some(known) = nearest(&key.name, KEYS.into_iter(), 2).filter(|_| !is_known) {
            report.warnings.push(Placed::new(
                key.position,
                path,
                &format!("Envoy knows no such key: did you mean `{known}`?"),
            ));
        }
    }
}

/// A connection manager without routes is a part of one.
fn has_routes(manager: &Node) -> bool {
    ["route_config", "rds", "scoped_routes"].iter().any(|key| manager.field(key).is_some())
}

fn warn(report: &mut Report, node: &Node, path: &str, key: &str, problem: &str) {
    report.warnings.push(Placed::new(node.position, &join(path, key), problem));
}

fn connection_manager(path: &str, manager: &Node, report: &mut Report) {
    let mut upgrades = Vec::new();
    manager.every("upgrade_configs", &mut upgrades);
    let is_websocket = |upgrade: &Node| {
        let name = upgrade.field("upgrade_type").and_then(Node::text);
        name.is_some_and(|name| name.eq_ignore_ascii_case("websocket"))
            && upgrade.field("enabled").is_none_or(|own| own.flag() != Some(false))
    };
    if !upgrades.iter().flat_map(|list| list.items()).any(is_websocket) {
        let problem = "without {upgrade_type: websocket} Envoy lets no WebSocket through";
        warn(report, manager, path, "upgrade_configs", problem);
    }
    let is_set = |name: &str| {
        manager
            .field(name)
            .is_some_and(|own| own.flag() == Some(true) || number(own) > Some(0) || !own.items().is_empty())
    };
    if !["use_remote_address", "xff_num_trusted_hops", "original_ip_detection_extensions"].into_iter().any(is_set) {
        let problem = "without it a client chooses its address by X-Forwarded-For, and so walks around limits and bans";
        warn(report, manager, path, "use_remote_address", problem);
    }
}

fn tls(path: &str, chain: &Node, policy: &Node, report: &mut Report) {
    // A route may have an answer of its own.
    let has = |name: &str, value: bool| {
        let mut found = Vec::new();
        policy.every(name, &mut found);
        found.iter().any(|own| own.is(value))
    };
    let is_off = has("require_tls", false) || has("trust_forwarded_proto", true);
    let socket = chain.field("transport_socket");
    let is_plain = socket.is_none_or(|socket| {
        let name = socket.field("typed_config").and_then(|own| own.get("@type")).and_then(Node::text);
        name.is_some_and(|name| name.ends_with("RawBuffer"))
    });
    if is_plain && !is_off {
        let problem = "without TLS here the policy's require_tls (by default true) refuses every request";
        warn(report, chain, path, "transport_socket", problem);
    }
}

/// The limits that `buffer_limits: halved` says there are.
fn buffers(
    path: &str,
    listener: &Node,
    routes: Option<(String, &Node)>,
    policy: &Node,
    documents: &[Node],
    report: &mut Report,
) {
    const KEY: &str = "per_connection_buffer_limit_bytes";
    if !policy.get("buffer_limits").is_some_and(|own| own.is("halved")) {
        let problem = format!("without `halved` and its limits the filter cannot always send a Ping or Close: {GUIDE}");
        return warn(report, policy, "buffer_limits", "", &problem);
    }
    let limit = |node: &Node| node.field(KEY).and_then(number);
    let own = limit(listener);
    if own.is_none() {
        warn(report, listener, path, KEY, &format!("`buffer_limits: halved` needs a limit here: {GUIDE}"));
    }
    let own = own.unwrap_or(ENVOY_BUFFER_LIMIT);
    let Some((routes_path, routes)) = routes else { return };
    for (path, cluster) in clusters(documents).into_iter().filter(|(_, cluster)| is_named(cluster, routes)) {
        if limit(cluster).unwrap_or(ENVOY_BUFFER_LIMIT).saturating_mul(2) > own {
            let problem = format!("`buffer_limits: halved` needs at most half of the listener's {own} here: {GUIDE}");
            warn(report, cluster, &path, KEY, &problem);
        }
    }
    let mut limits = Vec::new();
    routes.every("request_body_buffer_limit", &mut limits);
    routes.every("per_request_buffer_limit_bytes", &mut limits);
    if !limits.iter().any(|limit| number(limit) > Some(own)) {
        let problem =
            format!("`buffer_limits: halved` needs more than the listener's {own} in the WebSockets' route: {GUIDE}");
        warn(report, routes, &routes_path, "request_body_buffer_limit", &problem);
    }
}

/// The clusters of a file, with their paths.
fn clusters(documents: &[Node]) -> Vec<(String, &Node)> {
    let lists = [("static_resources", "clusters"), ("", "clusters"), ("", "resources")];
    let mut found = Vec::new();
    for document in documents {
        for (outer, name) in lists {
            let parent = if outer.is_empty() { Some(document) } else { document.field(outer) };
            let Some(list) = parent.and_then(|parent| parent.field(name)) else { continue };
            found
                .extend(list.children().into_iter().map(|(step, node)| (format!("{}{step}", join(outer, name)), node)));
        }
    }
    found
}

/// Whether a route leads to this cluster.
fn is_named(cluster: &Node, routes: &Node) -> bool {
    let Some(name) = cluster.field("name").and_then(Node::text) else { return false };
    let (mut named, mut weighted) = (Vec::new(), Vec::new());
    routes.every("cluster", &mut named);
    routes.every("weighted_clusters", &mut weighted);
    weighted.into_iter().for_each(|clusters| clusters.every("name", &mut named));
    named.iter().any(|node| node.is(name))
}

/// A number as ProtoJSON has it, in quotes or not.
fn number(node: &Node) -> Option<u64> {
    let value = node.value();
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests;
