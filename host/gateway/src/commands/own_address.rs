//! Finds deployments that lead back to the gateway itself. Each of their requests ends with 508.

use std::net::IpAddr;

use config::Config;

/// One line for each deployment on this machine at the gateway's own port.
pub(super) fn deployments_at(config: &Config, host: &str, port: u16) -> Vec<String> {
    let is_here = |name: &str| {
        let address = name.parse::<IpAddr>();
        let is_local = |address: IpAddr| address.is_loopback() || address.is_unspecified();
        name == host || name == "localhost" || address.is_ok_and(is_local)
    };
    let deployments = config
        .models
        .iter()
        .flat_map(|model| model.deployments.iter().map(move |deployment| (model, deployment)));
    let own = deployments.filter(|(_, deployment)| {
        let origin = &deployment.endpoint.origin;
        origin.port == port && is_here(&origin.host)
    });
    own.map(|(model, deployment)| {
        format!(
            "deployment {} of model {} leads to the gateway itself, at port {port} of this machine",
            deployment.name, model.id
        )
    })
    .collect()
}
