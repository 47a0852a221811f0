//! A link that minds no rule: a TLS session, and on it whatever bytes a test writes.
//!
//! Invariant: nothing is sent but what a test asks for; no credit, no heartbeat, no good-bye.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use aura_net::{Credentials, tls::ALPN_LINK};
use aura_proto::{
    Code, codec,
    frame::{FRAME_HEADER_BYTES, Flags, FrameHeader, FrameType},
    message::{Heartbeat, Message, Refusal, feature},
    session::Class,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::wire::{Device, Failure, hello};

/// The bytes of one frame.
pub fn frame(kind: FrameType, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u32;
    [&header(kind, flags, stream, len)[..], payload].concat()
}

/// The bytes of a frame header that promises `len` bytes.
pub fn header(kind: FrameType, flags: u8, stream: u32, len: u32) -> [u8; FRAME_HEADER_BYTES] {
    let flags = Flags(flags);
    FrameHeader {
        kind,
        flags,
        stream,
        len,
    }
    .encode()
}

/// The bits of a class in the flags of a frame.
pub fn class(class: Class) -> u8 {
    (class as u8) << Flags::CLASS_SHIFT
}

/// The bytes of a message in one frame, of class `of`.
pub fn message(of: Class, stream: u32, message: &Message) -> Vec<u8> {
    let (kind, payload) = message.encode();
    frame(kind, class(of), stream, &payload)
}

/// The frame that opens a stream.
pub fn opening(of: Class, stream: u32) -> Vec<u8> {
    frame(FrameType::WINDOW, class(of), stream, &[0; 4])
}

/// One frame that arrived.
#[derive(Debug)]
pub struct Arrived {
    /// Its header.
    pub header: FrameHeader,
    /// What followed.
    pub payload: Vec<u8>,
}

/// A TLS session with the Mothership, spoken by hand.
pub struct Raw {
    /// The session.
    pub stream: TlsStream<TcpStream>,
    exporter: [u8; 32],
}

impl Raw {
    /// A session before any frame.
    pub async fn dial(device: &Device) -> Result<Self, Failure> {
        let dialed = device.dial().await?;
        Ok(Self {
            stream: dialed.stream,
            exporter: dialed.exporter,
        })
    }

    /// A session after HELLO.
    pub async fn greeted(device: &Device) -> Result<Self, Failure> {
        let mut raw = Self::dial(device).await?;
        raw.say(&Message::Hello(hello(feature::ALL))).await?;
        raw.expect(FrameType::HELLO).await?;
        Ok(raw)
    }

    /// A session after WELCOME.
    pub async fn ready(device: &Device) -> Result<Self, Failure> {
        let mut raw = Self::greeted(device).await?;
        let auth = device.auth(&raw.exporter);
        raw.say(&Message::Auth(auth)).await?;
        raw.expect(FrameType::WELCOME).await?;
        Ok(raw)
    }

    /// The proof of the device's identity in this session, as a frame.
    pub fn auth(&self, device: &Device) -> Vec<u8> {
        message(
            Class::Control,
            0,
            &Message::Auth(device.auth(&self.exporter)),
        )
    }

    /// Sends a message on the control stream.
    pub async fn say(&mut self, what: &Message) -> io::Result<()> {
        self.write(&message(Class::Control, 0, what)).await
    }

    /// Writes bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// The next frame.
    pub async fn next(&mut self) -> io::Result<Arrived> {
        read_frame(&mut self.stream).await
    }

    /// The next frame of this type; others are passed over, a refusal is a failure.
    pub async fn expect(&mut self, kind: FrameType) -> Result<Arrived, Failure> {
        loop {
            let arrived = self.next().await?;
            match arrived.header.kind {
                found if found == kind => return Ok(arrived),
                FrameType::ERROR => {
                    let refusal: Refusal = codec::decode(&arrived.payload)?;
                    return Err(format!("{}: {}", refusal.code, refusal.detail).into());
                }
                _ => {}
            }
        }
    }

    /// Asks whether the other side is there; the number comes back.
    pub async fn beat(&mut self, nonce: u64) -> Result<u64, Failure> {
        let heads = Vec::new();
        self.say(&Message::Heartbeat(Heartbeat { nonce, heads }))
            .await?;
        let ack = self.expect(FrameType::HEARTBEAT_ACK).await?;
        Ok(codec::decode::<Heartbeat>(&ack.payload)?.nonce)
    }

    /// Ends this side; the types of all frames that still come.
    pub async fn hung_up(mut self) -> Vec<FrameType> {
        // The other side may have hung up first.
        self.stream.shutdown().await.ok();
        let mut kinds = Vec::new();
        while let Ok(arrived) = self.next().await {
            kinds.push(arrived.header.kind);
        }
        kinds
    }

    /// Writes bytes while reading to the end; the reason that the other side gave for the end.
    pub async fn until_closed(self, bytes: &[u8]) -> Option<Code> {
        let (mut read, mut write) = tokio::io::split(self.stream);
        let writing = async {
            // The other side may well end the link before it has read everything.
            if write.write_all(bytes).await.is_ok() {
                write.flush().await.ok();
            }
            std::future::pending::<()>().await;
        };
        let reading = async {
            let mut reason = None;
            while let Ok(arrived) = read_frame(&mut read).await {
                if arrived.header.kind == FrameType::ERROR && arrived.header.flags.has(Flags::END) {
                    reason = codec::decode::<Refusal>(&arrived.payload).ok();
                }
            }
            reason.map(|refusal| refusal.code)
        };
        tokio::select! {
            () = writing => None,
            code = reading => code,
        }
    }
}

async fn read_frame(read: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Arrived> {
    let mut header = [0; FRAME_HEADER_BYTES];
    read.read_exact(&mut header).await?;
    let header = FrameHeader::decode(&header);
    let mut payload = vec![0; header.len as usize];
    read.read_exact(&mut payload).await?;
    Ok(Arrived { header, payload })
}

/// Writes bytes one by one, one each second, until the other side ends the connection.
pub async fn drip(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), bytes: &[u8]) {
    let mut pace = tokio::time::interval(Duration::from_secs(1));
    let mut rest = bytes.iter();
    let mut sink = [0; 1_024];
    loop {
        tokio::select! {
            _ = pace.tick() => {
                let Some(byte) = rest.next() else { return };
                if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
            read = stream.read(&mut sink) => {
                if matches!(read, Ok(0) | Err(_)) {
                    return;
                }
            }
        }
    }
}

/// A configuration that believes every server; an empty chain shows no certificate.
pub fn careless(chain: &[Vec<u8>], key: &[u8], alpn: &[&[u8]]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider speaks TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless));
    let mut config = if chain.is_empty() {
        builder.with_no_client_auth()
    } else {
        let chain = chain.iter().map(|der| CertificateDer::from(der.clone()));
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()));
        builder
            .with_client_auth_cert(chain.collect(), key)
            .expect("key and certificate belong together")
    };
    config.alpn_protocols = alpn.iter().map(|alpn| alpn.to_vec()).collect();
    config.enable_sni = false;
    config
}

/// As [`careless`], for a holder of credentials who speaks the protocol of links.
pub fn careless_member(credentials: &Credentials) -> ClientConfig {
    let chain = [&credentials.certificate, &credentials.ca].map(Clone::clone);
    careless(&chain, &credentials.key, &[ALPN_LINK])
}

/// Shakes hands at `addr`.
pub async fn shake(
    addr: &str,
    config: &Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, Failure> {
    let tcp = TcpStream::connect(addr).await?;
    tcp.set_nodelay(true)?;
    let addr: SocketAddr = tcp.peer_addr()?;
    let name = ServerName::IpAddress(addr.ip().into());
    let connector = TlsConnector::from(Arc::clone(config));
    Ok(connector.connect(name, tcp).await?)
}

/// Whether a handshake, or the first word after it, is refused; a TLS 1.3 client hears of it late.
pub async fn is_refused(addr: &str, config: ClientConfig) -> bool {
    let Ok(mut stream) = shake(addr, &Arc::new(config)).await else {
        return true;
    };
    let greeting = message(Class::Control, 0, &Message::Hello(hello(feature::ALL)));
    stream.write_all(&greeting).await.is_err()
        || stream.flush().await.is_err()
        || read_frame(&mut stream).await.is_err()
}

/// A ClientHello that speaks TLS 1.2 at most and offers the protocol of links.
pub fn tls12_hello() -> Vec<u8> {
    let alpn = [&[0, 16, 0, 9, 0, 7, 6][..], ALPN_LINK].concat();
    let schemes = [0, 13, 0, 4, 0, 2, 8, 7];
    let groups = [0, 10, 0, 4, 0, 2, 0, 29];
    let extensions = [&alpn[..], &schemes, &groups].concat();
    let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    // TLS 1.2, random, no session, ECDHE-ECDSA with AES-128-GCM, no compression.
    let fixed = [&[3, 3][..], &[42; 32], &[0, 0, 2, 0xc0, 0x2b, 1, 0]].concat();
    let body = [fixed, sized(&extensions)].concat();
    let message = [&[1, 0][..], &sized(&body)].concat();
    [&[22, 3, 1][..], &sized(&message)].concat()
}

#[derive(Debug)]
struct Careless;

impl ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
