//! `chartdrop sandbox`: the stand-in for Redox, by itself.

use std::{future::Future, io::Write, net::SocketAddr, path::PathBuf};

use anyhow::Context;

use crate::{
    config::units,
    sandbox::{GRAMMAR, Options, Sandbox},
};

/// What `sandbox` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen: an address of this machine; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8790")]
    listen: SocketAddr,
    /// The public key that `chartdrop keygen` printed (a JWK or a JWKS).
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// The client id it knows.
    #[arg(long, default_value = "sandbox-client")]
    client_id: String,
    /// A source of the environment; with more than one, Redox-Source-Id is needed.
    #[arg(long, value_name = "ID")]
    source_id: Vec<String>,
    /// A destination's slug.
    #[arg(long, default_value = "redox-fhir-sandbox", value_name = "SLUG")]
    destination: Vec<String>,
    /// Refuse uploads in Development, as for a free account.
    #[arg(long)]
    free_account: bool,
    /// How long a token is good for.
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    token_life: units::Duration,
    /// Something that is to go wrong, for example create:nth=2:cut=after or binary:first=3:status=503; --help explains it all.
    #[arg(long, value_name = "RULE", long_help = GRAMMAR)]
    fault: Vec<String>,
}

/// Serves until `shutdown`.
pub async fn run(args: Args, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let options = Options {
        listen: args.listen,
        client_id: args.client_id.clone(),
        jwks: args.jwks.clone(),
        source_ids: args.source_id,
        destinations: args.destination.clone(),
        free_account: args.free_account,
        token_life: args.token_life.get(),
        faults: args.fault,
        ..Options::default()
    };
    let sandbox = Sandbox::bind(options).await?;
    let url = format!("http://{}", sandbox.addr());
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening on {url}")?;
    writeln!(
        out,
        "\nTo use it, set in your configuration:\n\n    [redox]\n    base_url = \"{url}\"\n    client_id = \"{}\"",
        args.client_id
    )?;
    writeln!(
        out,
        "    [[inbox]]\n    destination = \"{}\"",
        args.destination.first().context("a destination is needed")?
    )?;
    if args.jwks.is_none() {
        writeln!(
            out,
            "\nIt knows no key yet, so it gives no tokens. Make one and start it again with its public half:\n\n    chartdrop keygen --out key.pem >jwk.json\n    chartdrop sandbox --jwks jwk.json"
        )?;
    }
    writeln!(out, "\nWhat it has accepted: {url}/sandbox/record")?;
    out.flush()?;
    drop(out);
    sandbox.serve(shutdown).await;
    Ok(())
}
