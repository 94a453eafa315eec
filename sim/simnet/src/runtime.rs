//! A host of the executor as quinn wants to see it: a runtime, timers and a socket.
//!
//! Invariants
//! - what belongs to an earlier life of its host spawns, sends and receives nothing.
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use drover_sim::clock::Moment;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, UdpPoller};

use crate::executor::timers::TimerId;
use crate::executor::{Executor, Happening, Shared, Task, moment_of};
use crate::lock;
use crate::network::address_of;

/// One life of one host.
#[derive(Clone)]
pub struct HostRuntime {
    shared: Arc<Shared>,
    host: usize,
    life: u64,
}

impl fmt::Debug for HostRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host {} in life {}", self.host, self.life)
    }
}

impl HostRuntime {
    /// The runtime of the life that has just begun.
    #[must_use]
    pub fn new(executor: &Executor, host: usize, life: u64) -> Self {
        Self { shared: Arc::clone(&executor.shared), host, life }
    }

    /// Its socket: one a life.
    #[must_use]
    pub fn socket(&self) -> HostSocket {
        lock(&self.shared.inner).network.open(self.host);
        HostSocket(self.clone())
    }

    /// The moment that it is, which no host can know.
    #[must_use]
    pub fn moment(&self) -> Moment {
        lock(&self.shared.inner).queue.now()
    }

    /// As the host's own clock shows it, since the world began.
    #[must_use]
    pub fn local(&self) -> Moment {
        Moment { ns: lock(&self.shared.inner).local_ns(self.host) }
    }

    fn shown_ns(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.shared.base);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2)
    }
}

impl Runtime for HostRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        let mut inner = lock(&self.shared.inner);
        let deadline = moment_of(self.shown_ns(at), inner.places[self.host].drift_ppm);
        let id = inner.timers.add(deadline);
        drop(inner);
        Box::pin(Timer { runtime: self.clone(), id })
    }

    fn spawn(&self, future: Task) {
        let mut inner = lock(&self.shared.inner);
        let place = &inner.places[self.host];
        if !place.is_up || place.life != self.life {
            // A destructor of the life that has ended: nobody runs it. Dropped without the lock.
            drop(inner);
            return drop(future);
        }
        inner.tasks.add(self.host, future, &self.shared.ready);
    }

    fn wrap_udp_socket(&self, _: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::Error::other("there is no real socket in a simulation"))
    }

    fn now(&self) -> Instant {
        let shown_ns = lock(&self.shared.inner).local_ns(self.host);
        self.shared.base + Duration::from_nanos(shown_ns)
    }
}

struct Timer {
    runtime: HostRuntime,
    id: TimerId,
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.id, self.runtime)
    }
}

impl AsyncTimer for Timer {
    fn reset(self: Pin<&mut Self>, at: Instant) {
        let runtime = &self.runtime;
        let mut inner = lock(&runtime.shared.inner);
        let deadline = moment_of(runtime.shown_ns(at), inner.places[runtime.host].drift_ppm);
        inner.timers.reset(self.id, deadline);
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = lock(&self.runtime.shared.inner);
        let now = inner.queue.now();
        let (poll, planned) = inner.timers.poll(self.id, now, cx.waker());
        if let Some(at) = planned {
            inner.queue.push(at, Happening::Timer(self.id));
        }
        poll
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let waker = lock(&self.runtime.shared.inner).timers.remove(self.id);
        drop(waker);
    }
}

/// The UDP socket of one life.
#[derive(Debug)]
pub struct HostSocket(HostRuntime);

/// There is always room in the ether.
#[derive(Debug)]
pub(crate) struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncUdpSocket for HostSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let Self(runtime) = self;
        let mut inner = lock(&runtime.shared.inner);
        let place = &inner.places[runtime.host];
        if !place.is_up || place.life != runtime.life {
            return Ok(());
        }
        let now = inner.queue.now();
        let bytes_max = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for packet in transmit.contents.chunks(bytes_max) {
            let arrivals = inner.network.send(now, runtime.host, transmit.destination, packet);
            for (at, packet) in arrivals.into_iter().flatten() {
                inner.queue.push(at, Happening::Arrive(packet));
            }
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let Self(runtime) = self;
        let mut inner = lock(&runtime.shared.inner);
        if inner.places[runtime.host].life != runtime.life {
            return Poll::Pending;
        }
        let mut received = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            let Some((addr, bytes)) = inner.network.receive(runtime.host) else { break };
            let len = bytes.len().min(buffer.len());
            buffer[..len].copy_from_slice(&bytes[..len]);
            let dst_ip = Some(address_of(runtime.host).ip());
            *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip };
            received += 1;
        }
        if received != 0 {
            return Poll::Ready(Ok(received));
        }
        inner.network.wait(runtime.host, cx.waker());
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(address_of(self.0.host))
    }

    fn may_fragment(&self) -> bool {
        false
    }
}
