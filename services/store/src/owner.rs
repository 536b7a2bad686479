//! An owner thread: a value that blocks (a database) lives there, others send it work.

use piccolo_bus_schema::Fault;
use std::sync::mpsc;
use tokio::sync::oneshot;

type Work<T> = Box<dyn FnOnce(&mut T) + Send>;

/// The handle to a value on a thread of its own; the thread ends with the last handle.
pub(crate) struct Owner<T> {
    work: mpsc::Sender<Work<T>>,
}

impl<T> Clone for Owner<T> {
    fn clone(&self) -> Self {
        Self {
            work: self.work.clone(),
        }
    }
}

impl<T: Send + 'static> Owner<T> {
    /// Moves the value to its thread.
    pub(crate) fn start(name: &str, mut value: T) -> std::io::Result<Self> {
        let (work, queue) = mpsc::channel::<Work<T>>();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Ok(work) = queue.recv() {
                    work(&mut value);
                }
            })?;
        Ok(Self { work })
    }

    /// Runs work on the value. Dropping the future does not stop the work.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, Fault> {
        let (answer, result) = oneshot::channel();
        let work: Work<T> = Box::new(move |value| {
            let _ = answer.send(work(value));
        });
        let closed = || Fault::unavailable("the database", "it was closed");
        self.work.send(work).map_err(|_| closed())?;
        result.await.map_err(|_| closed())
    }
}
