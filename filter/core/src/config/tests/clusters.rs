//! What names a cluster, by its name or by an alias.

use super::*;

/// A policy that names a cluster at each place there is, and its pointer there.
fn places() -> Vec<(&'static str, Value)> {
    let mut provider = provider();
    provider["issuer"] = json!("https://idp.example/");
    provider["audiences"] = json!(["chat"]);
    provider["jwks"] = json!({"cluster": "idp", "url": "https://idp.example/keys"});
    provider["algorithms"] = json!(["ES256"]);
    let name = provider["name"].clone();
    let asked = json!({
        "name": "asked", "issuer": "https://asked.example/", "introspection": {
            "cluster": "idp", "path": "/introspect", "client": {"id": "a", "secret": {"inline": "b"}},
        },
    });
    let policy = with(
        good(),
        "/auth",
        json!({
            "providers": [provider, asked],
            "cookie": {"name": "sid", "lookup": {"cluster": "app", "path": "/session"}},
            "revocation": {"cluster": "idp", "path": "/revoked.json"},
            "back_channel_logout": {"path": "/out", "provider": name, "peers": ["other"]},
        }),
    );
    let policy = with(policy, "/limits", json!({"global": {"cluster": "ratelimit"}}));
    [
        "/auth/providers/0/jwks/cluster",
        "/auth/providers/1/introspection/cluster",
        "/auth/cookie/lookup/cluster",
        "/auth/revocation/cluster",
        "/auth/back_channel_logout/peers/0",
        "/limits/global/cluster",
    ]
    .map(|pointer| (pointer, policy.clone()))
    .into()
}

#[test]
fn each_cluster_may_have_an_alias_and_none_needs_one() {
    for (pointer, policy) in places() {
        assert_eq!(read(&policy).unwrap().policies.aliases().len(), 0);
        let parsed = read(&with(policy.clone(), pointer, json!({"extension_backend": "svc-1"}))).unwrap();
        assert_eq!(parsed.policies.aliases().iter().map(|alias| &**alias).collect::<Vec<_>>(), ["svc-1"], "{pointer}");
        // In a route of its own, too, and once.
        let route = json!({"match": {"path": "/a"}, "policy": {}});
        let policy = with(policy, pointer, json!({"extension_backend": "svc-1"}));
        assert_eq!(read(&with(policy, "/routes", json!([route, route]))).unwrap().policies.aliases().len(), 1);
    }
}

#[test]
fn what_is_no_alias_is_refused_at_its_place() {
    for (pointer, policy) in places() {
        let path = pointer[1..].replace("/0", "[0]").replace("/1", "[1]").replace('/', ".");
        for (value, problem) in [
            (json!({}), ".extension_backend: is required"),
            (json!({"extension_backend": null}), ".extension_backend: is required"),
            (json!({"extension_backend": 1}), ".extension_backend: expected a string"),
            (json!({"extension_backend": ""}), ".extension_backend: expected a name"),
            (json!({"extension_backend": "Idp"}), ".extension_backend: expected a name"),
            (json!({"extension_backend": "a\0b"}), ".extension_backend: expected a name"),
            (json!({"extension_backend": "a", "name": "b"}), ".name: unknown field"),
            (json!(["a"]), ": expected the name of a cluster, or {extension_backend: <alias>}"),
            (json!(""), ": "),
        ] {
            let error = read(&with(policy.clone(), pointer, value.clone())).unwrap_err();
            assert!(error.starts_with(&format!("{path}{problem}")), "{value}: {error}");
        }
    }
}

#[test]
fn what_is_asked_of_a_cluster_with_an_alias_has_the_alias_for_authority() {
    let (pointer, policy) = places().remove(3);
    let policy = read(&with(policy, pointer, json!({"extension_backend": "lists"}))).unwrap().policies.base().clone();
    assert_eq!(&*policy.auth.revocation.as_ref().unwrap().feed.location.authority, "lists");
}
