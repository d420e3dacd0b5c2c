//! Listens beside a job, and hands on what is asked.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener as Socket, UnixStream as Connection},
    },
    path::{Path, PathBuf},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
};

use super::{LONGEST, Reply, SOCKET, short_name};
use crate::job_manager::control::{Answer, Ask, Request};

/// A socket that nobody serves yet. Made before the process gives up the right to listen.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    path: PathBuf,
}

impl Listener {
    /// Makes the socket in a state directory, which is made too if it is not there. None
    /// if another process serves it: the store will say so.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn bind(state: &Path) -> io::Result<Option<Self>> {
        fs::create_dir_all(state)?;
        let (_directory, name) = short_name(state)?;
        if Connection::connect(&name).is_ok() {
            return Ok(None);
        }
        // Left behind by a process that was killed.
        match fs::remove_file(&name) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = Socket::bind(&name)?;
        fs::set_permissions(&name, fs::Permissions::from_mode(0o600))?;
        socket.set_nonblocking(true)?;
        Ok(Some(Self { socket, path: state.join(SOCKET) }))
    }

    /// Serves it, until its task ends. What is asked goes to `job`.
    ///
    /// # Errors
    /// If the runtime cannot wait for it.
    pub async fn serve(self, job: mpsc::Sender<Request>) -> io::Result<()> {
        let listener = UnixListener::from_std(self.socket.try_clone()?)?;
        loop {
            match listener.accept().await {
                Ok((connection, _)) => {
                    tokio::spawn(serve_one(connection, job.clone()));
                }
                Err(error) => {
                    // Too many files, say: the next one may do.
                    tracing::warn!("the control socket took no connection: {error}");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Whoever comes then is told that no job runs, whether it is there or not.
        let _ = fs::remove_file(&self.path);
    }
}

async fn serve_one(connection: UnixStream, job: mpsc::Sender<Request>) {
    let (read, mut write) = connection.into_split();
    let mut lines = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        match (&mut lines).take(LONGEST).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let reply = match serde_json::from_slice::<Ask>(&line) {
            Ok(ask) => match put(ask, &job).await {
                Ok(answer) => Reply::Ok(answer),
                Err(error) => Reply::Error(error),
            },
            Err(error) => Reply::Error(format!("that is no question: {error}")),
        };
        let mut bytes = serde_json::to_vec(&reply).expect("an answer can be written as JSON");
        bytes.push(b'\n');
        if write.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn put(ask: Ask, job: &mpsc::Sender<Request>) -> Result<Answer, String> {
    let gone = || "the job ended before it could answer".to_owned();
    let (answer, heard) = oneshot::channel();
    job.send(Request { ask, answer }).await.map_err(|_| gone())?;
    heard.await.map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{CheckpointId, SlotId},
        remote::client,
    };

    /// A job that answers what it is asked.
    async fn answer(mut asked: mpsc::Receiver<Request>) {
        while let Some(Request { ask, answer }) = asked.recv().await {
            let _ = answer.send(match ask {
                Ask::Checkpoint => {
                    Ok(Answer::Checkpoint { id: CheckpointId(7), duration_millis: 1, bytes: 2 })
                }
                _ => Err("not that".to_owned()),
            });
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_question_is_answered_however_deep_the_directory_lies() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("deep".repeat(20)).join("deeper".repeat(20));
        let listener = Listener::bind(&state).unwrap().unwrap();
        let (ask, asked) = mpsc::channel(1);
        tokio::spawn(answer(asked));
        let served = tokio::spawn(listener.serve(ask));
        assert!(Listener::bind(&state).unwrap().is_none(), "it is served");
        let asked = state.clone();
        let both = tokio::task::spawn_blocking(move || {
            let good = client::ask(&asked, &Ask::Checkpoint);
            (good, client::ask(&asked, &Ask::DrainSlot { slot: SlotId(1) }))
        });
        let (good, bad) = both.await.unwrap();
        assert_eq!(good.unwrap()["id"], 7);
        assert_eq!(bad.unwrap_err().to_string(), "not that");
        served.abort();
        let _ = served.await;
        assert!(!state.join(SOCKET).exists());
        let gone = client::ask(&state, &Ask::Checkpoint).unwrap_err().to_string();
        assert!(gone.contains("no job runs with the state directory"), "{gone}");
    }

    #[test]
    fn a_socket_that_a_killed_process_left_behind_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        // The file stays when its socket is closed.
        std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET)).unwrap();
        assert!(dir.path().join(SOCKET).exists());
        assert!(Listener::bind(dir.path()).unwrap().is_some());
    }
}
