//! The compared server: NATS JetStream, with the same TLS and, unless asked otherwise, a sync before each answer.
//!
//! The client speaks the text protocol itself, so that both servers have the same client below it.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{Buf, BytesMut};
use rustls::ClientConfig;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_rustls::TlsConnector;

use crate::{
    Failure,
    host::Process,
    line::{Heard, Line, Speech, System},
    pki::Pki,
};

/// When the compared server syncs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syncs {
    /// Before it answers, as the Mothership does.
    Always,
    /// Every two minutes, its default.
    Later,
}

/// How subscribers are served.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// By a push consumer of the stream, as things come.
    Live,
    /// The same with flow control, as is advised for what is stored already.
    Replay,
    /// Past the stream, without storage.
    Core,
}

pub(crate) struct Nats {
    child: Child,
    port: u16,
    tls: Arc<ClientConfig>,
    delivery: Delivery,
    topic: AtomicU8,
    _dir: TempDir,
}

impl Nats {
    pub(crate) async fn start(
        program: &Path,
        scratch: &Path,
        pki: &Pki,
        syncs: Syncs,
        delivery: Delivery,
    ) -> Result<Self, Failure> {
        let dir = tempfile::tempdir_in(scratch)?;
        let at = dir.path().display();
        pki.write(dir.path())?;
        let interval = if syncs == Syncs::Always {
            "always"
        } else {
            "2m"
        };
        let config = dir.path().join("nats.conf");
        let text = format!(
            "listen: \"127.0.0.1:-1\"\nports_file_dir: \"{at}\"\n\
             tls {{ cert_file: \"{at}/leaf.pem\", key_file: \"{at}/key.pem\", ca_file: \"{at}/ca.pem\", verify: true }}\n\
             jetstream {{ store_dir: \"{at}/js\", sync_interval: {interval}, max_file_store: 20GB, max_memory_store: 1GB }}\n"
        );
        fs::write(&config, text)?;
        let child = Command::new(program)
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("stderr"))?)
            .spawn()?;
        let mut nats = Self {
            child,
            port: 0,
            tls: Arc::new(pki.client()?),
            delivery,
            topic: AtomicU8::new(0),
            _dir: dir,
        };
        nats.port = nats.listens().await?;
        Ok(nats)
    }

    /// The port that the server chose, once it has written it down.
    async fn listens(&mut self) -> Result<u16, Failure> {
        let ports = format!("nats-server_{}.ports", self.child.id());
        let ports = self._dir.path().join(ports);
        for _ in 0..1_000 {
            let text = fs::read_to_string(&ports).unwrap_or_default();
            let document: Value = serde_json::from_str(&text).unwrap_or_default();
            let port = document["nats"][0]
                .as_str()
                .and_then(|url| url.rsplit(':').next()?.parse().ok());
            if let Some(port) = port {
                return Ok(port);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the compared server ended: {status}").into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err("the compared server does not listen".into())
    }
}

impl System for Nats {
    type Speech = Talk;

    fn process(&self) -> Process {
        Process(self.child.id())
    }

    async fn topic(&self) -> Result<u8, Failure> {
        let topic = self.topic.fetch_add(1, Relaxed) + 1;
        let mut line = self.connect(0, topic).await?;
        let stream = json!({
            "name": format!("S{topic}"),
            "subjects": [format!("t{topic}")],
            "storage": "file",
        });
        line.speech
            .request(&format!("$JS.API.STREAM.CREATE.S{topic}"), &stream);
        line.until(|heard| heard.is_subscribed).await?;
        Ok(topic)
    }

    async fn connect(&self, client: usize, topic: u8) -> Result<Line<Talk>, Failure> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        // The server greets before TLS.
        while stream.read_u8().await? != b'\n' {}
        let stream = TlsConnector::from(Arc::clone(&self.tls))
            .connect("localhost".try_into()?, stream)
            .await?;
        let talk = Talk {
            client,
            topic,
            delivery: self.delivery,
            input: BytesMut::new(),
            out: b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"bench\",\"version\":\"0\",\"protocol\":1,\"headers\":true}\r\nPING\r\n".to_vec(),
            body: Vec::new(),
            published: 0,
            heard: Heard::default(),
        };
        Line::open(stream, talk).await
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A client's side of the text protocol.
pub(crate) struct Talk {
    client: usize,
    topic: u8,
    delivery: Delivery,
    input: BytesMut,
    out: Vec<u8>,
    body: Vec<u8>,
    published: u64,
    heard: Heard,
}

/// One message of the server: its subject, where to answer, its headers and its body.
struct Arrived {
    subject: String,
    reply: Option<String>,
    headers: String,
    body: BytesMut,
}

impl Talk {
    /// Asks the server; one answer comes on a subject of this client.
    fn request(&mut self, subject: &str, body: &Value) {
        let (client, body) = (self.client, body.to_string());
        let len = body.len();
        self.put(&format!(
            "SUB answer.{client} 9\r\nUNSUB 9 1\r\nPUB {subject} answer.{client} {len}\r\n{body}\r\n"
        ));
    }

    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Takes one whole protocol message from the input; `None` when more must arrive first.
    fn step(&mut self) -> Result<Option<()>, Failure> {
        let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") else {
            return Ok(None);
        };
        let line = String::from_utf8_lossy(&self.input[..end]).into_owned();
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "MSG" | "HMSG" => {
                let size = |back: usize| -> Result<usize, Failure> {
                    let word = words.len().checked_sub(back).map(|at| words[at]);
                    Ok(word.ok_or("a message without a size")?.parse()?)
                };
                let (total, headers) = if words[0] == "HMSG" {
                    (size(1)?, size(2)?)
                } else {
                    (size(1)?, 0)
                };
                if self.input.len() < end + 2 + total + 2 {
                    return Ok(None);
                }
                let reply_at = if words[0] == "HMSG" { 6 } else { 5 };
                let reply = (words.len() == reply_at).then(|| words[3].to_owned());
                let subject = words[1].to_owned();
                self.input.advance(end + 2);
                let mut body = self.input.split_to(total);
                self.input.advance(2);
                let headers = body.split_to(headers);
                let headers = String::from_utf8_lossy(&headers).into_owned();
                self.take(&Arrived {
                    subject,
                    reply,
                    headers,
                    body,
                })?;
            }
            word => {
                match word {
                    "PING" => self.put("PONG\r\n"),
                    "PONG" if self.heard.is_ready => self.heard.is_subscribed = true,
                    "PONG" => self.heard.is_ready = true,
                    "-ERR" => return Err(line.into()),
                    _ => {}
                }
                self.input.advance(end + 2);
            }
        }
        Ok(Some(()))
    }

    fn take(&mut self, arrived: &Arrived) -> Result<(), Failure> {
        match arrived.subject.split('.').next().unwrap_or_default() {
            "ack" => {
                let answer: Value = serde_json::from_slice(&arrived.body)?;
                if !answer["seq"].is_u64() {
                    return Err(format!("not stored: {answer}").into());
                }
                self.heard.acks += 1;
            }
            "answer" => {
                let answer: Value = serde_json::from_slice(&arrived.body)?;
                if answer.get("error").is_some() {
                    return Err(answer.to_string().into());
                }
                self.heard.is_subscribed = true;
            }
            // Flow control: an idle beat or a request that is to be answered.
            _ if !arrived.headers.is_empty() => {
                let stalled = arrived
                    .headers
                    .lines()
                    .find_map(|line| line.strip_prefix("Nats-Consumer-Stalled: "));
                if let Some(to) = arrived.reply.as_deref().or(stalled.map(str::trim)) {
                    let text = format!("PUB {to} 0\r\n\r\n");
                    self.put(&text);
                }
            }
            _ => {
                self.heard.events += 1;
                let number = arrived.body.first_chunk::<8>().ok_or("a short message")?;
                if u64::from_be_bytes(*number) != self.heard.events as u64 {
                    return Err("a message is out of order".into());
                }
            }
        }
        Ok(())
    }
}

impl Speech for Talk {
    fn prepare(&mut self, _count: usize, bytes: usize) -> Result<(), Failure> {
        if self.published == 0 {
            self.put(&format!("SUB ack.{} 8\r\n", self.client));
        }
        self.body = vec![7; bytes];
        Ok(())
    }

    fn publish(&mut self) -> Result<(), Failure> {
        self.published += 1;
        let number = self.published.to_be_bytes();
        self.body[..8].copy_from_slice(&number);
        let (topic, client) = (self.topic, self.client);
        let head = format!("PUB t{topic} ack.{client} {}\r\n", self.body.len());
        self.put(&head);
        self.out.extend_from_slice(&self.body);
        self.put("\r\n");
        Ok(())
    }

    fn subscribe(&mut self) {
        let (topic, client) = (self.topic, self.client);
        if self.delivery == Delivery::Core {
            return self.put(&format!("SUB t{topic} 1\r\nPING\r\n"));
        }
        let to = format!("to.{topic}.{client}");
        let mut config = json!({
            "deliver_subject": to,
            "deliver_policy": "all",
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": true,
            "num_replicas": 1,
        });
        if self.delivery == Delivery::Replay {
            config["flow_control"] = json!(true);
            config["idle_heartbeat"] = json!(5_000_000_000_u64);
        }
        self.put(&format!("SUB {to} 1\r\n"));
        let stream = format!("S{topic}");
        let subject = format!("$JS.API.CONSUMER.CREATE.{stream}");
        self.request(
            &subject,
            &json!({ "stream_name": stream, "config": config }),
        );
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.input.extend_from_slice(bytes);
        while self.step()?.is_some() {}
        Ok(())
    }

    fn say(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.out);
    }

    fn heard(&self) -> Heard {
        self.heard
    }
}
