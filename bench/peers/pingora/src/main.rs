//! A minimal proxy of pingora: a thread for each core, two upstreams that share requests 60 to 40.
//! It has no limits and no log, and reads no bodies.
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

/// The first upstream's share of the requests.
const LOCAL_SHARE: f64 = 0.6;

/// The addresses of the two upstreams.
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
