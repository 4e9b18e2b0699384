/// Something secret, in all the forms in which it could show.
pub(super) struct Canary {
    what: &'static str,
    forms: Vec<String>,
}

impl Canary {
    pub(super) fn new(what: &'static str, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let hex = hex::encode(bytes);
        let mut forms = vec![hex.to_uppercase(), hex];
        forms.extend(std::str::from_utf8(bytes).map(str::to_owned));
        // What comes before it decides how its base64 is aligned; the letters that mix with neighbours are cut off.
        for before in 0..3 {
            let padded = [&vec![0; before], bytes].concat();
            let whole = base64_simd::STANDARD_NO_PAD.encode_to_string(padded);
            let inner = whole[[0, 2, 3][before]..whole.len() - 1].to_owned();
            forms.extend([inner.replace('+', "-").replace('/', "_"), inner]);
        }
        Self { what, forms }
    }

    /// A fresh random one of 16 bytes, as text.
    pub(super) fn fresh(what: &'static str) -> (String, Self) {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).expect("the system's random numbers");
        let text = format!("canary{}", hex::encode(random));
        let canary = Self::new(what, &text);
        (text, canary)
    }

    pub(super) fn absent_from(&self, place: &str, text: &str) {
        for form in &self.forms {
            assert!(form.len() >= 12, "{form} is too short to mean anything");
            if let Some(at) = text.find(form.as_str()) {
                let line = text[..at].lines().count();
                panic!("{} is in the {place}, as {form}, in line {line}", self.what);
            }
        }
    }
}
