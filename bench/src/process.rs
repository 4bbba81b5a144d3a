//! Processes of a run: started, found ready, measured through /proc, and ended with the value that holds them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;

/// Kernel clock ticks a second, as /proc counts them; it is 100 on every Linux that this runs on.
const TICKS: f64 = 100.0;

/// A running process and its children.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

/// An address on loopback that is free now.
pub(crate) fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Process {
    /// Starts a server and waits until it takes connections at `address`. Its errors go to ours.
    pub(crate) fn start(mut command: Command, address: SocketAddr) -> Result<Self, Failure> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut process = Self { child: child.map_err(|error| format!("{name}: {error}"))? };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.child.try_wait()? {
                return Err(format!("{name} ended early: {status}").into());
            }
            if Instant::now() > deadline {
                return Err(format!("{name} does not listen at {address}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(process)
    }

    /// Waits until a server answers `GET /ready` at this address with 200: it may have more to do than to listen.
    pub(crate) fn wait_until_ready(&mut self, admin: SocketAddr) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(admin)?;
            stream.write_all(b"GET /ready HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        loop {
            let answer = ask().unwrap_or_else(|error| error.to_string());
            if answer.starts_with("HTTP/1.1 200 ") {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("ended before it was ready: {status}").into());
            }
            if Instant::now() > deadline {
                return Err(format!("not ready at {admin}: {answer}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The process and what it forked (nginx works in children).
    fn ids(&self) -> Vec<u32> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        std::iter::once(id).chain(children.split_whitespace().filter_map(|id| id.parse().ok())).collect()
    }

    /// User and system time so far, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64, Failure> {
        let mut ticks = 0.0;
        for id in self.ids() {
            let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
            // The name in parentheses may hold anything; utime and stime are fields 14 and 15, 12 and 13 behind it.
            let (_, fields) = stat.rsplit_once(") ").ok_or("an unreadable /proc/<pid>/stat")?;
            for field in fields.split(' ').skip(11).take(2) {
                ticks += field.parse::<f64>()?;
            }
        }
        Ok(ticks / TICKS)
    }

    /// The most memory held at once since [`Process::reset_peak`], in MiB.
    pub(crate) fn peak_memory(&self) -> Result<f64, Failure> {
        let mut kib = 0.0;
        for id in self.ids() {
            let status = fs::read_to_string(format!("/proc/{id}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let value = line
                .and_then(|line| line.trim().strip_suffix(" kB"))
                .ok_or("no VmHWM in /proc/<pid>/status")?;
            kib += value.trim().parse::<f64>()?;
        }
        Ok(kib / 1024.0)
    }

    /// Starts the measurement of peak memory anew (proc(5), clear_refs).
    pub(crate) fn reset_peak(&self) -> Result<(), Failure> {
        for id in self.ids() {
            fs::write(format!("/proc/{id}/clear_refs"), "5")?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        // nginx ends its children when asked to stop, and leaves them when killed.
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let deadline = Instant::now() + Duration::from_secs(2);
        while asked.is_ok() && Instant::now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ends_or_does_not_exist_is_an_error() {
        let address = free_address().unwrap();
        assert!(
            Process::start(Command::new("false"), address).unwrap_err().to_string().contains("ended early")
        );
        assert!(Process::start(Command::new("no-such-program"), address).is_err());
    }

    #[test]
    fn a_process_is_measured() {
        // Anything that listens already will do: it is the process that is measured.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 60"]);
        let process = Process::start(command, listener.local_addr().unwrap()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while process.cpu().unwrap() == 0.0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(process.cpu().unwrap() > 0.0);
        process.reset_peak().unwrap();
        assert!(process.peak_memory().unwrap() > 0.1);
    }
}
