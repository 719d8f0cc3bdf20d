//! Writes bodies as they come, some at a time, on a thread that may wait for the disk.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use super::error::ExportError;
use super::folder::Work;

/// So many bodies, or bytes, are written together.
const BATCH: usize = 128;
const BATCH_BYTES: usize = 4 << 20;

pub(super) struct Writer {
    work: Arc<Work>,
    batch: Vec<(u64, Bytes)>,
    bytes: usize,
    next: u64,
    /// One at a time: what comes meanwhile waits, and so do those who render.
    writes: Option<JoinHandle<Result<(), ExportError>>>,
}

impl Writer {
    pub(super) fn new(work: Arc<Work>) -> Self {
        Self { work, batch: Vec::new(), bytes: 0, next: 0, writes: None }
    }

    /// The number under which the body is.
    pub(super) async fn put(&mut self, body: Bytes) -> Result<u64, ExportError> {
        let number = self.next;
        self.next += 1;
        self.bytes += body.len();
        self.batch.push((number, body));
        if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES {
            self.settle().await?;
            let (work, batch) = (Arc::clone(&self.work), std::mem::take(&mut self.batch));
            self.bytes = 0;
            self.writes = Some(spawn_blocking(move || write(&work, batch)));
        }
        Ok(number)
    }

    /// Until everything is written.
    pub(super) async fn finish(mut self) -> Result<(), ExportError> {
        self.settle().await?;
        let (work, batch) = (Arc::clone(&self.work), self.batch);
        blocking(move || write(&work, batch)).await
    }

    async fn settle(&mut self) -> Result<(), ExportError> {
        match self.writes.take() {
            Some(writes) => joined(writes).await,
            None => Ok(()),
        }
    }
}

fn write(work: &Work, batch: Vec<(u64, Bytes)>) -> Result<(), ExportError> {
    batch.into_iter().try_for_each(|(number, body)| {
        let path = work.body(number);
        fs::write(&path, body).map_err(ExportError::io("write this file", &path))
    })
}

/// Does something that may wait for the disk.
pub(super) async fn blocking<T: Send + 'static>(
    what: impl FnOnce() -> Result<T, ExportError> + Send + 'static,
) -> Result<T, ExportError> {
    joined(spawn_blocking(what)).await
}

/// A runtime that shuts down takes its threads with it.
async fn joined<T>(task: JoinHandle<Result<T, ExportError>>) -> Result<T, ExportError> {
    task.await.unwrap_or(Err(ExportError::NoRuntime))
}
