//! Files that describe a node pool: `node_pool "NAME" { ... }`, or what the API takes, as JSON.
//!
//! Invariants
//! - a file describes one pool, and whatever is wrong with it is told with its place.
use std::collections::BTreeMap;

use drover_core::types::PoolName;

use super::syntax;
use crate::api::pool::{Pool, Scheduling};
use crate::jobspec::diagnostic::{Dialect, Findings};
use crate::jobspec::reader::Reader;
use crate::jobspec::{Diagnostics, Source};

/// The pool that `source` describes, as the API takes it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(source: &Source) -> Result<Pool, Diagnostics> {
    let whole = |why: String| Diagnostics::from(source.whole(why, String::new()));
    if source.text.trim_start().starts_with('{') {
        let pool: Pool =
            serde_json::from_str(&source.text).map_err(|why| whole(why.to_string()))?;
        pool.clone().converted().map_err(whole)?;
        return Ok(pool);
    }
    let root = syntax::parse(source).map_err(|found| Diagnostics::from(*found))?;
    let findings = Findings::new(source, Dialect::AgentFile);
    let reader = Reader::new(&root, String::new(), &findings);
    let mut pools = reader.labelled("node_pool");
    reader.finish(&[]);
    if findings.any() {
        return Err(findings.into_diagnostics());
    }
    let (1, Some((name, block))) = (pools.len(), pools.pop()) else {
        return Err(whole("a file has one block node_pool \"NAME\" { ... }".to_owned()));
    };
    if let Err(why) = PoolName::of(&name).check() {
        block.wrong(&block.block.place, why.to_owned(), "such as node_pool \"gpu\"");
    }
    let pool = Pool {
        name,
        description: block.text("description").unwrap_or_default(),
        meta: block.map("meta").filter(|meta: &BTreeMap<_, _>| !meta.is_empty()),
        scheduler_configuration: block.one("scheduler_config").map(scheduling),
        ..Pool::default()
    };
    block.finish(&["node_identity_ttl"]);
    if findings.any() { Err(findings.into_diagnostics()) } else { Ok(pool) }
}

fn scheduling(reader: Reader<'_>) -> Scheduling {
    let algorithm = reader.text("scheduler_algorithm").unwrap_or_default();
    if let (false, Some(one)) = (
        ["", "pack", "binpack", "spread"].contains(&algorithm.as_str()),
        reader.attribute("scheduler_algorithm"),
    ) {
        let why = format!("there is no algorithm \"{algorithm}\"");
        reader.wrong(&one.value_place, why, "\"pack\", \"binpack\" or \"spread\"");
    }
    let made = Scheduling {
        scheduler_algorithm: algorithm,
        memory_oversubscription_enabled: reader.flag("memory_oversubscription_enabled"),
    };
    reader.finish(&[]);
    made
}

/// An example of such a file.
#[must_use]
pub const fn example() -> &'static str {
    r#"# A node is in this pool if its agent says so: client { node_pool = "example" }.
# A job runs on it if the job says so:           node_pool = "example"
node_pool "example" {
  description = "What these nodes are for"

  meta {
    owner = "nobody"
  }

  # What is not said here is as for the whole cluster.
  scheduler_config {
    scheduler_algorithm = "spread"
  }
}
"#
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { file: "pool.hcl".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn the_example_is_a_pool() {
        let pool = read(&source(example())).expect("it is right");
        assert_eq!((pool.name.as_str(), pool.description.is_empty()), ("example", false));
        let spec = pool.converted().expect("it is right");
        assert_eq!(spec.meta.get("owner").map(String::as_str), Some("nobody"));
        assert_eq!(spec.scheduler.algorithm, Some(drover_core::types::Algorithm::Spread));
    }

    #[test]
    fn the_api_s_json_is_one_too() {
        let pool = read(&source(r#"{"Name":"gpu","Description":"cards"}"#)).expect("it is right");
        assert_eq!((pool.name.as_str(), pool.description.as_str()), ("gpu", "cards"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, why) in [
            ("", "a file has one block node_pool"),
            ("node_pool \"a\" {}\nnode_pool \"b\" {}", "a file has one block node_pool"),
            ("node_pool \"a b\" {}", "pool.hcl:1"),
            ("node_pool \"a\" {\n  descripton = \"x\"\n}", "pool.hcl:2"),
            (
                "node_pool \"a\" {\n scheduler_config {\n scheduler_algorithm = \"best\" } }",
                "no algorithm",
            ),
            (r#"{"Name":"a b"}"#, "a pool's name has"),
        ] {
            let found = read(&source(text)).expect_err(text).to_string();
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}
