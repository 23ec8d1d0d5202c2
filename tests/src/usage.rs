//! Resources that a gateway's process uses (on Linux, from `/proc`), and limits set for it.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

use crate::Gateway;

impl Gateway {
    /// Memory of its own that is in use: bytes of anonymous pages, without files and shared ones.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.pages("RssAnon:")
    }

    /// All memory that it has: bytes of resident pages, those of its program's file included.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn resident(&self) -> u64 {
        self.pages("VmRSS:")
    }

    /// Bytes, by a line of proc_pid_status(5).
    fn pages(&self, kind: &str) -> u64 {
        self.status(kind) * 1024
    }

    /// The number in a line of proc_pid_status(5).
    fn status(&self, kind: &str) -> u64 {
        let status = self.told("status");
        let line = status.lines().find_map(|line| line.strip_prefix(kind)).expect("such a line");
        line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
    }

    /// Processor time that it has used so far.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn processor_time(&self) -> Duration {
        let stat = self.told("stat");
        // The name, in parentheses, may contain spaces. Fields 14 and 15 are user and system time
        // (proc(5)).
        let fields = stat.rsplit(')').next().expect("fields").split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).map(|n| n.parse::<u64>().expect("a number")).sum();
        Duration::from_secs(1)
            .mul_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// The file descriptors that it has open.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn open_files(&self) -> u64 {
        let path = format!("/proc/{}/fd", self.pid().as_raw_nonzero());
        std::fs::read_dir(path).expect("it runs").count() as u64
    }

    /// The file descriptors that the system has room for in its table of them.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn room_for_files(&self) -> u64 {
        self.status("FDSize:")
    }

    /// Lets it open descriptors below `most` only, as `ulimit -n` does, from now on. None: as many
    /// as this process may.
    ///
    /// # Panics
    /// If it has ended.
    pub fn limit_open_files(&self, most: Option<u64>) {
        let own = getrlimit(Resource::Nofile);
        let limit = Rlimit { current: most.or(own.current), maximum: own.maximum };
        prlimit(Some(self.pid()), Resource::Nofile, limit).expect("its parent may");
    }

    fn told(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.pid().as_raw_nonzero());
        std::fs::read_to_string(path).expect("it runs")
    }
}
