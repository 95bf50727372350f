//! The `larder` command: its words, and what each does.

mod ask_admin;
mod demo;
mod explain;
mod keys;
mod purge;
mod run;
mod stat;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A caching reverse proxy for multi-tenant web applications.
#[derive(Debug, Parser)]
#[command(name = "larder", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the proxy.
    Run {
        /// The configuration file.
        #[arg(
            short,
            long,
            value_name = "FILE",
            required_unless_present = "origin",
            conflicts_with = "origin"
        )]
        config: Option<PathBuf>,
        /// Runs without a file in front of this application: public responses, by the application's own headers only.
        #[arg(long, value_name = "URL")]
        origin: Option<String>,
        /// Where to listen, with --origin.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", conflicts_with = "config")]
        listen: SocketAddr,
    },
    /// Shows what Larder does, with a small application that is built in.
    Demo(demo::DemoArgs),
    /// Checks a configuration file: every error, with its line and how to mend it.
    Check {
        /// The configuration file.
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Explains what the proxy makes of a request: route, tier, identity, key, tags, and what reaches the application.
    Explain(explain::ExplainArgs),
    /// Prints the JSON Schema of the configuration file.
    Schema,
    /// Purges through the admin listener: by URL, tag, pattern, route, store, key or tenant, or everything.
    Purge(purge::PurgeArgs),
    /// Shows what is stored, through the admin listener: keys with their tags, age and remaining time, and their number.
    Keys(keys::KeysArgs),
    /// Shows how a running Larder is, through the admin listener: stores, Redis, the purge log, and what is amiss.
    Stat(ask_admin::Look),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    match run_command(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error>;

fn run_command(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run { config, origin, listen } => {
            let config = match (config, origin) {
                (Some(file), _) => crate::config::Config::load(&file)?,
                (None, Some(url)) => crate::config::Config::for_origin(&url, listen)?,
                (None, None) => return Err("either -c FILE or --origin URL is needed".into()),
            };
            run::run(config)
        }
        Command::Demo(args) => demo::demo(&args),
        Command::Check { config } => {
            let checked = crate::config::Config::load(&config)?;
            println!(
                "{}: fine ({} routes, {} origins, {} stores)",
                config.display(),
                checked.routes.len(),
                checked.origins.len(),
                checked.stores.len()
            );
            Ok(())
        }
        Command::Schema => {
            println!("{}", serde_json::to_string_pretty(&crate::config::schema::json_schema())?);
            Ok(())
        }
        Command::Explain(args) => explain::explain(args),
        Command::Purge(args) => purge::purge(args),
        Command::Keys(args) => keys::keys(args),
        Command::Stat(args) => stat::stat(&args),
    }
}
