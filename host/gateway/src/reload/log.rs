//! Opens the access log of a configuration.

use std::io::ErrorKind;

use anyhow::anyhow;

use config::{Config, Diagnostics, LogOutput, PathStep};
use proxy::Gateway;

/// `ENXIO`: a FIFO that nobody reads.
const NO_READER: i32 = 6;

/// Directs the access log to the output that `config` names.
///
/// # Errors
/// If it cannot be opened: the place in routing.yaml, the system's reason and the remedy. The log
/// then keeps its old output.
pub(crate) fn open(gateway: &Gateway, config: &Config) -> anyhow::Result<()> {
    let output = config.access_log.as_ref();
    let Err(error) = gateway.log_to(output) else { return Ok(()) };
    let path = match output {
        Some(LogOutput::File(path)) => path.display().to_string(),
        Some(LogOutput::Stdout) | None => "stdout".to_owned(),
    };
    let message = format!("cannot open the access log {path}: {error}");
    let help = match error.kind() {
        ErrorKind::NotFound => "make its folder, or name another file: `output: access.log`",
        ErrorKind::PermissionDenied => {
            "let the gateway's user write there, or name another file: `output: access.log`"
        }
        ErrorKind::IsADirectory => "name a file in that folder: `output: access.log`",
        _ if error.raw_os_error() == Some(NO_READER) => {
            "start the reader of this FIFO first, or name a file: `output: access.log`"
        }
        _ => "name another file, or stdout: `output: stdout`",
    };
    // Only routing.yaml can name a log.
    let Some(file) = &config.routing_file else { return Err(anyhow!("{message}; {help}")) };
    let at = ["logging", "output"].map(PathStep::from);
    Err(anyhow!("{}", Diagnostics::from(file.error(&at, message, help)).short()))
}
