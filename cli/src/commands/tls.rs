//! `drover tls`: an authority, and certificates for agents.
//!
//! Invariants
//! - no file is overwritten: a lost authority cannot be made again.
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use drover_core::time::WallTime;
use drover_shell::transport::Role;
use drover_shell::transport::tls::{
    AUTHORITY_DAYS, CERTIFICATE_DAYS, Pem, Request, make_authority, make_certificate, write,
};

use crate::args::Global;
use crate::commands::Ended;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;
use crate::time;

const AUTHORITY_STEM: &str = "drover-agent-ca";

#[derive(Debug, Subcommand)]
pub(crate) enum TlsCommand {
    #[command(subcommand, about = "The authority that signs certificates")]
    Ca(CaCommand),
    #[command(subcommand, about = "Certificates of agents")]
    Cert(CertCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    #[command(about = "Make an authority: drover-agent-ca.pem and drover-agent-ca-key.pem")]
    Create(CaArgs),
}

#[derive(Args, Debug)]
pub(crate) struct CaArgs {
    #[arg(long, value_name = "N", default_value_t = AUTHORITY_DAYS, help = "Days of validity")]
    days: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    #[command(about = "Make a certificate: <region>-server-drover.pem and its key")]
    Create(CertArgs),
}

#[derive(Args, Debug)]
pub(crate) struct CertArgs {
    #[arg(long, required_unless_present = "client", help = "For a server")]
    server: bool,
    #[arg(long, help = "For a client; with -server for an agent that is both")]
    client: bool,
    #[arg(long, value_name = "N", default_value_t = CERTIFICATE_DAYS, help = "Days of validity")]
    days: u32,
    #[arg(long, value_name = "FILE", default_value = "drover-agent-ca.pem")]
    ca: PathBuf,
    #[arg(long, value_name = "FILE", default_value = "drover-agent-ca-key.pem")]
    key: PathBuf,
    #[arg(long, value_name = "NAME", help = "Another name for the HTTP API; may be repeated")]
    additional_dnsname: Vec<String>,
    #[arg(long, value_name = "IP", help = "Another address for the HTTP API; may be repeated")]
    additional_ipaddress: Vec<String>,
}

pub(crate) fn run(command: &TlsCommand, global: &Global, terminal: Terminal) -> Ended {
    let unix_ms = u64::try_from(time::now_unix_ns() / 1_000_000).unwrap_or(0);
    let now = WallTime { unix_ms };
    match command {
        TlsCommand::Ca(CaCommand::Create(args)) => {
            let pem = make_authority(now, args.days)
                .map_err(|why| Failure::new(format!("Error making the authority: {why}")))?;
            written(AUTHORITY_STEM, &pem, terminal)
        }
        TlsCommand::Cert(CertCommand::Create(args)) => {
            let region = global.region.as_deref().unwrap_or("global");
            let authority = Pem { certificate: read(&args.ca)?, key: read(&args.key)? };
            let mut roles = Vec::new();
            let mut words = Vec::new();
            if args.server {
                roles.push(Role::Server);
                words.push("server");
            }
            if args.client {
                roles.push(Role::Client);
                words.push("client");
            }
            let names = [args.additional_dnsname.clone(), args.additional_ipaddress.clone()];
            let names = names.concat();
            let request = Request { roles: &roles, region, names: &names, days: args.days, now };
            let pem = make_certificate(&authority, &request)
                .map_err(|why| Failure::new(format!("Error making the certificate: {why}")))?;
            written(&format!("{region}-{}-drover", words.join("-")), &pem, terminal)
        }
    }
}

fn written(stem: &str, pem: &Pem, terminal: Terminal) -> Ended {
    let (certificate, key) = write(Path::new("."), stem, pem)
        .map_err(|why| Failure::new(format!("Error writing the certificate: {why}")))?;
    terminal.line(&format!("==> Certificate written to {}", certificate.display()));
    terminal.line(&format!("==> Private key written to {} (keep it secret)", key.display()));
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|why| {
        Failure::new(format!(
            "Error reading {}: {why}; make an authority with: drover tls ca create",
            path.display()
        ))
    })
}
