/// A root authority, one below it, and a certificate for `localhost` of the latter's. Unit tests make theirs here as well.
pub(crate) struct Chain {
    pub(crate) root: rcgen::Certificate,
    pub(crate) middle: rcgen::Certificate,
    pub(crate) leaf: rcgen::Certificate,
    /// The leaf's.
    pub(crate) key: rcgen::KeyPair,
}

impl Chain {
    pub(crate) fn new() -> Self {
        let authority = |name: &str| {
            let mut wanted = rcgen::CertificateParams::default();
            wanted.distinguished_name.push(rcgen::DnType::CommonName, name);
            wanted.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            (wanted, rcgen::KeyPair::generate().unwrap())
        };
        let (wanted, root_key) = authority("root");
        let root = wanted.self_signed(&root_key).unwrap();
        let above = rcgen::Issuer::new(wanted, root_key);
        let (wanted, middle_key) = authority("middle");
        let middle = wanted.signed_by(&middle_key, &above).unwrap();
        let above = rcgen::Issuer::new(wanted, middle_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let wanted = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let leaf = wanted.signed_by(&key, &above).unwrap();
        Self { root, middle, leaf, key }
    }
}
