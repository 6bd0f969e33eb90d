//! Finds or starts the cluster that a command talks to.

use std::path::Path;
use std::time::Duration;

use rainstorm_proto::client::client_client::ClientClient;
use tonic::transport::{Channel, Endpoint};

use super::args::Target;
use super::error::{CliError, Result};
use super::interrupt::Interrupt;
use crate::embedded::{self, Cluster};
use crate::exchange::MAX_MESSAGE_BYTES;
use crate::identity::{DataDirectory, Owner};

/// How long a master may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A cluster that answers.
pub(crate) struct Reached {
    pub(crate) client: ClientClient<Channel>,
    /// Where its master listens, for messages.
    pub(crate) address: String,
    /// The cluster in this process, if it is here.
    embedded: Option<Cluster>,
}

impl Reached {
    /// Stops the cluster if it is in this process.
    pub(crate) async fn close(self) {
        drop(self.client);
        if let Some(cluster) = self.embedded {
            cluster.stop().await;
        }
    }
}

/// Connects to the master that was named, or starts a cluster in this process.
///
/// # Errors
/// Where the master does not answer, or another process holds the data directory.
pub(crate) async fn reach_or_start(target: &Target, interrupt: &Interrupt) -> Result<Reached> {
    interrupt.begin().or_interrupted(reach_or_start_at_leisure(target)).await
}

async fn reach_or_start_at_leisure(target: &Target) -> Result<Reached> {
    if let Some(master) = &target.master {
        return reach(master.clone()).await;
    }
    if let Some(Owner { address: Some(address), .. }) = owner(&target.data)? {
        return Err(CliError::new(format!(
            "data directory {} is in use by the cluster at {address}: use it with \
             --master {address}, or another directory with --data DIR",
            target.data.display()
        )));
    }
    let config = embedded::Config { data: target.data.clone(), slots: None };
    let cluster = Cluster::start(config).await.map_err(|error| CliError::from_error(&error))?;
    let reached = reach(cluster.address()).await?;
    Ok(Reached { embedded: Some(cluster), ..reached })
}

async fn reach(address: String) -> Result<Reached> {
    Ok(Reached { client: connect(&address).await?, address, embedded: None })
}

/// Connects to the master that was named, or to the one that holds the data directory.
///
/// # Errors
/// Where there is none, or it does not answer.
pub(crate) async fn reach_running(target: &Target) -> Result<Reached> {
    reach(running(target.master.as_deref(), &target.data)?).await
}

fn running(master: Option<&str>, data: &Path) -> Result<String> {
    if let Some(master) = master {
        return Ok(master.to_owned());
    }
    match owner(data)? {
        Some(Owner { address: Some(address), .. }) => Ok(address),
        Some(owner) => Err(CliError::new(format!(
            "{owner} holds {} but cannot be reached yet",
            data.display()
        ))),
        None => Err(CliError::new(format!(
            "no cluster is running on {}: name one with --master HOST:PORT or --data DIR",
            data.display()
        ))),
    }
}

/// Tells who holds a data directory.
pub(crate) fn owner(data: &Path) -> Result<Option<Owner>> {
    DataDirectory::owner(data).map_err(|error| CliError::from_error(&error))
}

/// Refuses what is no address of a master.
///
/// # Errors
/// Where it is not HOST:PORT.
pub(crate) fn check_address(address: &str) -> Result<()> {
    let unlike = || CliError::new(format!("'{address}' is not an address such as HOST:PORT"));
    let (host, port) = address.rsplit_once(':').ok_or_else(unlike)?;
    if host.is_empty() {
        return Err(unlike());
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err(CliError::new(format!(
            "bad port '{port}' in '{address}': ports go from 1 to {}",
            u16::MAX
        ))),
    }
}

async fn connect(address: &str) -> Result<ClientClient<Channel>> {
    check_address(address)?;
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| CliError::new(format!("'{address}' is not an address such as HOST:PORT")))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true);
    let channel = endpoint.connect().await;
    let channel = channel
        .map_err(|error| CliError::failed(format!("cannot reach a master at {address}"), &error))?;
    Ok(ClientClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        let told = |address| match check_address(address) {
            Ok(()) => String::new(),
            Err(CliError::Failed { message, .. }) => message,
            Err(other) => panic!("{other:?}"),
        };
        for address in ["localhost:4600", "127.0.0.1:1", "[::1]:65535"] {
            assert_eq!(told(address), "");
        }
        assert_eq!(
            told("localhost:99999"),
            "bad port '99999' in 'localhost:99999': ports go from 1 to 65535"
        );
        assert!(told("localhost:").contains("bad port"));
        assert!(told("localhost").contains("not an address such as HOST:PORT"));
    }
}
