//! nginx in front of the gateway, as Debian ships it.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::{DEADLINE, Log, NGINX, Port};

/// One process, so that it ends by its id. `/usr/sbin` is in the path of root alone.
const START: &str = "PATH=$PATH:/usr/sbin exec nginx -e stderr -p \"$1\" -c nginx.conf";

/// An nginx. Killed on drop, by its own id.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    port: Port,
    log: Log,
    folder: TempDir,
}

impl Nginx {
    /// Starts one. None: it is not installed. `http` is what the configuration says beside the
    /// server, `server` what it says of the server.
    ///
    /// # Panics
    /// If it does not listen.
    #[must_use]
    pub fn start(http: &str, server: &str) -> Option<Self> {
        if !NGINX.is_here() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = Port::take();
        // The folders of the package belong to root.
        let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {name};"))
            .concat();
        let address = port.address();
        let text = format!(
            "daemon off; master_process off; pid nginx.pid;\nevents {{}}\nhttp {{\n\
             access_log off; {folders}\n{http}\n\
             server {{ listen {address};\n{server}\n}}\n}}\n"
        );
        std::fs::write(folder.path().join("nginx.conf"), text).expect("a writable folder");
        let mut command = Command::new("sh");
        command.args(["-c", START, "sh"]).arg(folder.path()).stdin(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("a shell");
        let log = Log::follow(child.stderr.take().expect("piped"));
        let mut nginx = Self { child, port, log, folder };
        nginx.listens();
        Some(nginx)
    }

    fn listens(&mut self) {
        let start = Instant::now();
        while TcpStream::connect(self.port.address()).is_err() {
            let ended = self.child.try_wait().expect("a child");
            assert!(ended.is_none(), "nginx did not start: {}", self.log.text());
            assert!(start.elapsed() < DEADLINE, "nginx does not listen");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Its address and a path: `/v1/models`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.port.url())
    }

    /// The folder that relative paths of its configuration begin in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("nginx says:\n{}", self.log.text());
        }
    }
}
