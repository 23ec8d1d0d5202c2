//! The least that pingora makes of a proxy: a thread a core, two upstreams that share requests 60 to 40.
//! No limits, no log, no look at bodies.
//!
//! Usage: `peer-pingora PORT LOCAL_PORT REMOTE_PORT`, all on 127.0.0.1.

use std::error::Error;
use std::thread;

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// The share of requests that goes to the first upstream.
const LOCAL_SHARE: f64 = 0.6;

/// Two upstreams, by their addresses.
struct Split {
    local: String,
    remote: String,
}

#[async_trait]
impl ProxyHttp for Split {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let address = if rand::random::<f64>() < LOCAL_SHARE { &self.local } else { &self.remote };
        Ok(Box::new(HttpPeer::new(address, false, String::new())))
    }
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let ports: Vec<u16> =
        std::env::args().skip(1).map(|port| port.parse()).collect::<std::result::Result<_, _>>()?;
    let [port, local, remote] = ports[..] else {
        return Err("usage: peer-pingora PORT LOCAL_PORT REMOTE_PORT".into());
    };
    let conf =
        ServerConf { threads: thread::available_parallelism()?.get(), ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let split =
        Split { local: format!("127.0.0.1:{local}"), remote: format!("127.0.0.1:{remote}") };
    let mut service = http_proxy_service(&server.configuration, split);
    service.add_tcp(&format!("127.0.0.1:{port}"));
    server.add_service(service);
    server.run_forever();
}
