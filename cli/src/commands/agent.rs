//! `drover agent`: the flags of an agent; what they mean is decided by the shell.
//!
//! Invariants
//! - a flag that was not given stays unknown here: defaults are the configuration's business.
use std::path::PathBuf;

use clap::Args;
use drover_core::types::PoolName;
use drover_shell::config::{Mode, Written, WrittenClient, WrittenJoin, WrittenServer};
use drover_shell::daemon::{self, Flags};

use crate::args::Global;
use crate::commands::{Ended, Exit};
use crate::failure::Failure;

#[derive(Args, Debug)]
pub(crate) struct AgentArgs {
    #[arg(long, help = "A server and a client in one, in memory, for trying things out")]
    dev: bool,
    #[arg(long, value_name = "PATH", help = "A configuration file or folder; may be repeated")]
    config: Vec<PathBuf>,
    #[arg(long, value_name = "NAME", help = "The name of this agent")]
    node: Option<String>,
    #[arg(long, value_name = "PATH", help = "Where everything is kept")]
    data_dir: Option<PathBuf>,
    #[arg(long, value_name = "ADDRESS", help = "The address to listen on")]
    bind: Option<String>,
    #[arg(long, help = "Be a server")]
    server: bool,
    #[arg(long, help = "Be a client")]
    client: bool,
    #[arg(long, value_name = "N", help = "How many servers must have met before the first leader")]
    bootstrap_expect: Option<u32>,
    #[arg(long, value_name = "ADDRESS", help = "A server to join; may be repeated")]
    retry_join: Vec<String>,
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',', help = "The servers of a client")]
    servers: Vec<String>,
    #[arg(long, value_name = "NAME", help = "The datacenter")]
    dc: Option<String>,
    #[arg(long, value_name = "NAME", help = "The class of the client node")]
    node_class: Option<String>,
    #[arg(long, value_name = "NAME", value_parser = node_pool, help = "The pool of the client node")]
    node_pool: Option<PoolName>,
    #[arg(
        long,
        value_name = "TOKEN",
        help = "What makes this machine a client node of servers that ask for it"
    )]
    client_intro_token: Option<String>,
    #[arg(long, value_name = "LEVEL", help = "trace, debug, info, warn or error")]
    log_level: Option<String>,
}

pub(crate) fn run(args: &AgentArgs, global: &Global) -> Ended {
    let flags = Flags {
        mode: args.dev.then_some(Mode::Dev),
        config: args.config.clone(),
        overlay: overlay(args, global),
    };
    match daemon::run(&flags) {
        Ok(()) => Ok(Exit::Done),
        Err(why) => Err(Failure::new(why)),
    }
}

/// What the flags say, in the words of a configuration file.
fn overlay(args: &AgentArgs, global: &Global) -> Written {
    let join = WrittenJoin { retry_join: args.retry_join.clone(), ..WrittenJoin::default() };
    Written {
        region: global.region.clone(),
        datacenter: args.dc.clone(),
        name: args.node.clone(),
        data_dir: args.data_dir.clone(),
        bind_addr: args.bind.clone(),
        log_level: args.log_level.clone(),
        server: WrittenServer {
            enabled: args.server.then_some(true),
            bootstrap_expect: args.bootstrap_expect,
            join: if args.client && !args.server { WrittenJoin::default() } else { join.clone() },
            ..WrittenServer::default()
        },
        client: WrittenClient {
            enabled: args.client.then_some(true),
            servers: args.servers.clone(),
            join: if args.client && !args.server { join } else { WrittenJoin::default() },
            node_class: args.node_class.clone(),
            node_pool: args.node_pool.clone(),
            introduction_token: args.client_intro_token.clone(),
            ..WrittenClient::default()
        },
        ..Written::default()
    }
}

fn node_pool(text: &str) -> Result<PoolName, &'static str> {
    let pool = PoolName::of(text);
    pool.check_of_node().map(|()| pool)
}
