//! TLS between hosts: the pool's own authority, what nodes prove themselves with, and what each end of a
//! connection asks of the other.
//!
//! TL-1: only TLS 1.3, both ends with a certificate of the pool's authority, which lives in the master's
//! memory and ends with it. TL-2: a certificate is good for one node name, that which the greeting inside
//! has to prove. The one exception is a node that is not in a pool yet: it has a certificate of its own
//! making, which who attaches it knows by its fingerprint, and asks for none.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime,
};
use tokio_rustls::rustls::server::{
    Acceptor, NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier,
};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, CommonState, DigitallySignedStruct, RootCertStore,
    ServerConfig, SignatureScheme, version::TLS13,
};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector};

use super::cell::lock;
use super::stream::ByteStream;
use crate::term::{Fingerprint, NodeName, Via};
use crate::wire::Credentials;
use crate::wire::greeting::{Channel, Hello, Part, Refusal};

/// The authority of one pool. It is in its master's memory only.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A fresh one.
    ///
    /// # Errors
    /// If the operating system has no random bytes.
    pub(crate) fn new() -> Result<Authority, TlsError> {
        // Its own name tells a stranger's certificate from one of ours with a wrong signature.
        let key = KeyPair::generate()?;
        let number = Fingerprint::of(key.public_key_raw());
        let mut params = params(&format!("pspawn pool {number}"), Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Authority(CertifiedIssuer::self_signed(params, key)?))
    }

    /// What the node of this name proves itself with.
    ///
    /// # Errors
    /// If the operating system has no random bytes.
    pub(crate) fn issue(&self, node: NodeName) -> Result<Credentials, TlsError> {
        let mut params = params("pspawn node", vec![certified_name(node)])?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.0)?;
        let ca = self.0.der().to_vec();
        Ok(Credentials { ca, cert: cert.der().to_vec(), key: key.serialize_der() })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority(..)")
    }
}

/// Keys or certificates that are not to be had, or not to be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("no certificate could be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("the credentials cannot be used: {0}")]
    Use(#[from] rustls::Error),
    #[error("the credentials cannot be used: {0}")]
    Root(#[from] rustls::client::VerifierBuilderError),
}

/// How a node that is in a pool meets the others.
pub(crate) struct Tls {
    serves: Arc<ServerConfig>,
    dials: Arc<ClientConfig>,
}

impl Tls {
    /// # Errors
    /// If these are no credentials.
    pub(crate) fn new(credentials: &Credentials) -> Result<Tls, TlsError> {
        let chain = || vec![CertificateDer::from(credentials.cert.clone())];
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(credentials.ca.clone()))?;
        let roots = Arc::new(roots);
        let theirs = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider());
        let mut serves = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(theirs.build()?)
            .with_single_cert(chain(), key(&credentials.key))?;
        no_resumption(&mut serves);
        let theirs = WebPkiServerVerifier::builder_with_provider(roots, provider());
        let mut dials = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_webpki_verifier(theirs.build()?)
            .with_client_auth_cert(chain(), key(&credentials.key))?;
        dials.resumption = Resumption::disabled();
        Ok(Tls { serves: Arc::new(serves), dials: Arc::new(dials) })
    }

    /// Makes a connection to that node, and to no other.
    ///
    /// # Errors
    /// If it is not one of this pool's, or is another node; or the connection is lost.
    pub(crate) async fn dial(&self, node: NodeName, stream: TcpStream) -> io::Result<Secured> {
        let name = ServerName::try_from(certified_name(node)).map_err(io::Error::other)?;
        dial(self.dials.clone(), name, stream).await
    }
}

/// The certificate of a node's own making, by which it is attached.
pub(crate) struct OwnCertificate {
    pub(crate) fingerprint: Fingerprint,
    serves: Arc<ServerConfig>,
}

impl OwnCertificate {
    /// # Errors
    /// If the operating system has no random bytes.
    pub(crate) fn new() -> Result<OwnCertificate, TlsError> {
        let params = params("pspawn node, in no pool yet", vec![ATTACH_NAME.to_owned()])?;
        let key_pair = KeyPair::generate()?;
        let cert = params.self_signed(&key_pair)?.der().clone();
        let mut serves = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![cert.clone()], key(key_pair.serialized_der()))?;
        no_resumption(&mut serves);
        Ok(OwnCertificate { fingerprint: Fingerprint::of(&cert), serves: Arc::new(serves) })
    }
}

/// Which certificate a node that is to be attached must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pin {
    Exactly(Fingerprint),
    /// None is good enough: its fingerprint is only asked for.
    Unknown,
}

/// Makes a connection to a node that is to be attached.
///
/// # Errors
/// If it shows another certificate; the error says which.
pub(crate) async fn dial_pinned(pin: Pin, stream: TcpStream) -> io::Result<Secured> {
    let seen = Arc::new(Mutex::new(None));
    let pinned = Pinned { pin, provider: provider(), seen: seen.clone() };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from(ATTACH_NAME).map_err(io::Error::other)?;
    dial(Arc::new(config), name, stream).await.map_err(|why| {
        let why = match (pin, *lock(&seen)) {
            (Pin::Exactly(wanted), Some(found)) if wanted != found => {
                format!("the certificate there has the fingerprint {found}, not {wanted}")
            }
            (Pin::Unknown, Some(found)) => format!(
                "a node of another host is attached by its fingerprint: compare {found} with what \
                 `pspawn node` printed there, and if it is the same say --fingerprint {found}"
            ),
            (Pin::Exactly(_) | Pin::Unknown, _) => return why,
        };
        io::Error::other(why)
    })
}

/// A connection that is encrypted.
pub(crate) struct Secured {
    pub(crate) stream: ByteStream,
    pub(crate) channel: Channel,
    /// As which node the peer may come in.
    pub(crate) entry: Entry,
}

/// What a peer has shown before the greeting, and so as whom it may prove itself.
#[derive(Debug)]
pub(crate) enum Entry {
    /// It sits on this host, or was dialed by its name.
    Anyone,
    /// The node whose certificate of the pool this is.
    Certified(CertificateDer<'static>),
    /// It has shown no certificate: a master that attaches us.
    Attaches,
    /// The node that our master has named as the other end of a relayed stream.
    Named(NodeName),
    /// The slave that was launched over the channel which this comes through.
    Slave(NodeName),
}

impl Entry {
    /// # Errors
    /// If the peer has no business here under the name that it proved.
    pub(crate) fn admits(&self, them: &Hello) -> Result<(), Refusal> {
        match self {
            Entry::Anyone => Ok(()),
            Entry::Attaches if them.part == Part::Master => Ok(()),
            Entry::Attaches => Err(Refusal::NoCertificate),
            Entry::Named(node) if them.node == *node => Ok(()),
            Entry::Named(node) => {
                Err(Refusal::OtherNode { here: them.node.to_string(), wanted: node.to_string() })
            }
            Entry::Slave(node) if them.node == *node && them.part == Part::Slave => Ok(()),
            Entry::Slave(node) => Err(Refusal::NotLaunched(node.to_string())),
            Entry::Certified(cert) => {
                let name = ServerName::try_from(certified_name(them.node)).ok();
                let cert = ParsedCertificate::try_from(cert).ok();
                let named = name.zip(cert).map(|(name, cert)| verify_server_name(&cert, &name));
                match named {
                    Some(Ok(())) => Ok(()),
                    Some(Err(_)) | None => Err(Refusal::OtherCertificate(them.node.to_string())),
                }
            }
        }
    }
}

/// Whose turn it is to have a client hello answered.
///
/// LS-2: between any two of them all else has its turn that waits for the IO thread, so that hundreds at once hold up no
/// heartbeat: one costs its sender nothing, and this node a signature. Nobody has a turn while a peer is waited for, so those
/// that say nothing keep nobody out.
pub(crate) struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Turns {
        Turns(Semaphore::new(1))
    }
}

impl Turns {
    /// Does the work when it is its turn.
    ///
    /// # Cancel safety
    /// A turn is not lost.
    async fn take<T>(&self, work: impl FnOnce() -> T) -> T {
        let _turn = self.0.acquire().await;
        let done = work();
        tokio::task::yield_now().await; // all others first, and the sockets
        done
    }
}

/// Takes a connection in: who asks for a node that is to be attached is shown its own certificate, all
/// others are met with that of the pool, if the node is in one.
///
/// # Errors
/// If the peer speaks no TLS, or cannot show what is asked for.
pub(crate) async fn accept(
    tls: Option<Arc<Tls>>,
    own: Option<&OwnCertificate>,
    turns: &Turns,
    stream: TcpStream,
) -> io::Result<Secured> {
    stream.set_nodelay(true)?;
    let started = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let attaches = started.client_hello().server_name() == Some(ATTACH_NAME);
    let config = match (attaches, own, &tls) {
        (true, Some(own), _) => own.serves.clone(),
        (_, _, Some(tls)) => tls.serves.clone(),
        // Nobody else has anything to ask here: it is shown what there is, and gets no further.
        (false, Some(own), None) => own.serves.clone(),
        (_, None, None) => return Err(io::Error::other("this node has no certificate yet")),
    };
    let attaches = own.is_some_and(|own| Arc::ptr_eq(&own.serves, &config));
    // All that is computed for a client hello is computed here. What comes then is waited for without a turn.
    let stream = turns.take(|| started.into_stream(config)).await.await?;
    let connection = stream.get_ref().1;
    let channel = channel_of(|out| connection.export_keying_material(out, LABEL, None))?;
    let entry = match (attaches, certificate_of(connection)) {
        (false, Some(cert)) => Entry::Certified(cert),
        (false, None) => return Err(io::Error::other("no certificate was shown")),
        (true, _) => Entry::Attaches,
    };
    Ok(Secured { stream: ByteStream::whole(Via::Tls, stream), channel, entry })
}

async fn dial(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: TcpStream,
) -> io::Result<Secured> {
    stream.set_nodelay(true)?;
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    let connection = stream.get_ref().1;
    let channel = channel_of(|out| connection.export_keying_material(out, LABEL, None))?;
    Ok(Secured { stream: ByteStream::whole(Via::Tls, stream), channel, entry: Entry::Anyone })
}

fn channel_of(
    export: impl FnOnce([u8; 32]) -> Result<[u8; 32], rustls::Error>,
) -> io::Result<Channel> {
    export([0; 32]).map(Channel).map_err(io::Error::other)
}

fn certificate_of(connection: &CommonState) -> Option<CertificateDer<'static>> {
    connection.peer_certificates()?.first().map(|cert| cert.clone().into_owned())
}

/// Takes exactly one certificate, whoever signed it.
#[derive(Debug)]
struct Pinned {
    pin: Pin,
    provider: Arc<CryptoProvider>,
    seen: Arc<Mutex<Option<Fingerprint>>>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = Fingerprint::of(end_entity);
        *lock(&self.seen) = Some(found);
        match self.pin == Pin::Exactly(found) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The name that a node's certificate is for. Node names may be longer than a name of DNS, and have
/// other letters.
fn certified_name(node: NodeName) -> String {
    let digest = Sha256::digest(node.as_str());
    let label: String = digest[..LABEL_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{label}.node.pspawn")
}

/// Valid at all times: clocks of hosts differ, and the authority ends with its pool in any case.
fn params(common_name: &str, names: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    Ok(params)
}

fn key(der: &[u8]) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(der.to_vec()).into()
}

/// A connection is made anew each time: nothing of a former one is kept.
fn no_resumption(config: &mut ServerConfig) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Who asks for this name wants to attach the node.
const ATTACH_NAME: &str = "attach.pspawn";
/// What keying material for the greeting is exported under.
const LABEL: &[u8] = b"EXPERIMENTAL pspawn greeting";
/// How much of a name's digest fits a label of DNS, which has at most 63 letters.
const LABEL_BYTES: usize = 31;

#[cfg(test)]
mod tests;
