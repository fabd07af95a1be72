//! Files of every kind, made up here: whole, with all that is found behind their ends, and cut.

use md5::{Digest, Md5};

/// A complete JPEG, 32 by 32.
pub fn jpeg(seed: u32, extra: &[u8]) -> Vec<u8> {
    let sample = include_bytes!("../../assets/samples/wound-photo.jpg");
    [&sample[..2], extra, &segment(0xfe, format!("case {seed}").as_bytes()), &sample[2..]].concat()
}

pub fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    [&[0xff, marker], &(body.len() as u16 + 2).to_be_bytes()[..], body].concat()
}

/// Bytes without a pattern, and without an `FF`.
pub fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        ((state >> 8) % 254 + 1) as u8
    })
    .take(length)
    .collect()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// Zlib's format, uncompressed: at most 65,535 bytes.
pub fn zlib(data: &[u8]) -> Vec<u8> {
    let (a, b) = data.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (a + b) % 65_521)
    });
    let length = data.len() as u16;
    [&[0x78, 1, 1], &length.to_le_bytes()[..], &(!length).to_le_bytes(), data, &(b << 16 | a).to_be_bytes()].concat()
}

/// A complete grey PNG, 64 by 64.
pub fn png(seed: u32) -> Vec<u8> {
    let chunk = |kind: &[u8], body: &[u8]| {
        let typed = [kind, body].concat();
        [&(body.len() as u32).to_be_bytes()[..], &typed, &crc32(&typed).to_be_bytes()].concat()
    };
    let rows: Vec<u8> = (0..64).flat_map(|row| [vec![0], noise(seed * 64 + row, 64)].concat()).collect();
    let head = chunk(b"IHDR", b"\0\0\0\x40\0\0\0\x40\x08\0\0\0\0");
    [b"\x89PNG\r\n\x1a\n", head.as_slice(), &chunk(b"IDAT", &zlib(&rows)), &chunk(b"IEND", b"")].concat()
}

/// A complete PDF of one page, with a classic table; `trailer` goes into its trailer, `objects` are numbered from 6 on.
pub fn pdf(seed: u32, trailer: &str, objects: &[&str]) -> Vec<u8> {
    let content = format!("BT /F1 12 Tf 72 720 Td (case {seed}) Tj ET");
    let mut bodies = vec![
        "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
        "<</Type/Pages/Kids[3 0 R]/Count 1>>".to_owned(),
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>".to_owned(),
        format!("<</Length {}>>stream\n{content}\nendstream", content.len()),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>".to_owned(),
    ];
    bodies.extend(objects.iter().map(|body| (*body).to_owned()));
    let mut out = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n".to_vec();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", bodies.len() + 1);
    for (index, body) in bodies.iter().enumerate() {
        table += &format!("{:010} 00000 n \n", out.len());
        out.extend(format!("{} 0 obj\n{body}\nendobj\n", index + 1).bytes());
    }
    let at = out.len();
    let closing = format!("trailer\n<</Size {}/Root 1 0 R{trailer}>>\nstartxref\n{at}\n%%EOF\n", bodies.len() + 1);
    [out, table.into_bytes(), closing.into_bytes()].concat()
}

/// What the last closing says.
pub fn startxref(pdf: &[u8]) -> usize {
    let text = String::from_utf8_lossy(pdf);
    text.rsplit("startxref\n").next().unwrap().split('\n').next().unwrap().parse().unwrap()
}

/// An incremental update: the page's content replaced by one of about `size` bytes.
pub fn revised(base: &[u8], seed: u32, size: usize) -> Vec<u8> {
    let hex: String = noise(seed, size / 2).iter().map(|byte| format!("{byte:02x}")).collect();
    let content = format!("% {hex}\nBT /F1 12 Tf 72 700 Td (signed) Tj ET");
    let object = format!("4 0 obj\n<</Length {}>>stream\n{content}\nendstream\nendobj\n", content.len());
    let (at, table, before) = (base.len(), base.len() + object.len(), startxref(base));
    let closing = format!(
        "xref\n4 1\n{at:010} 00000 n \ntrailer\n<</Size 6/Root 1 0 R/Prev {before}>>\nstartxref\n{table}\n%%EOF\n"
    );
    [base, object.as_bytes(), closing.as_bytes()].concat()
}

/// A PDF whose cross-reference is a stream, uncompressed; `entries` go into its dictionary, `objects` are numbered from 6 on.
pub fn pdf_with_stream(seed: u32, entries: &str, objects: &[&str]) -> Vec<u8> {
    let classic = pdf(seed, "", objects);
    let at = startxref(&classic);
    let count = 6 + objects.len();
    let rows = vec![0_u8; count * 4];
    let head = format!(
        "{count} 0 obj\n<</Type/XRef/Size {count}/W[1 2 1]/Root 1 0 R{entries}/Length {}>>stream\n",
        rows.len()
    );
    [&classic[..at], head.as_bytes(), &rows, format!("\nendstream\nendobj\nstartxref\n{at}\n%%EOF\n").as_bytes()]
        .concat()
}

pub const PADDING: [u8; 32] = *b"\x28\xBF\x4E\x5E\x4E\x75\x8A\x41\x64\x00\x4E\x56\xFF\xFA\x01\x08\x2E\x2E\x00\xB6\xD0\x68\x3E\x80\x2F\x0C\xA9\xFE\x64\x53\x69\x7A";

pub fn rc4(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut s: Vec<u8> = (0..=255).collect();
    let mut j = 0_usize;
    for i in 0..256 {
        j = (j + usize::from(s[i]) + usize::from(key[i % key.len()])) % 256;
        s.swap(i, j);
    }
    let (mut i, mut j) = (0, 0);
    let mut next = || {
        i = (i + 1) % 256;
        j = (j + usize::from(s[i])) % 256;
        s.swap(i, j);
        s[(usize::from(s[i]) + usize::from(s[j])) % 256]
    };
    data.iter().map(|byte| byte ^ next()).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `/ID` and `/Encrypt` of the standard security handler, revisions 2 to 4 (ISO 32000-1, 7.6.3), and the dictionary alone.
pub fn encryption(revision: u8, user: &str, seed: u32) -> (String, String) {
    let padded = |word: &str| [word.as_bytes(), &PADDING].concat()[..32].to_vec();
    let id: [u8; 16] = Md5::digest(format!("case {seed}")).into();
    let length = if revision == 2 { 5 } else { 16 };
    let (permissions, owner) = (-44_i32, noise(seed, 32));
    let clear = if revision == 4 { vec![0xff; 4] } else { Vec::new() };
    let text = [padded(user), owner.clone(), permissions.to_le_bytes().to_vec(), id.to_vec(), clear].concat();
    let mut key: [u8; 16] = Md5::digest(text).into();
    let mut value = PADDING.to_vec();
    if revision == 2 {
        value = rc4(&key[..5], &value);
    } else {
        for _ in 0..50 {
            key = Md5::digest(&key[..length]).into();
        }
        value = Md5::digest([&PADDING[..], &id].concat()).to_vec();
        for round in 0..20 {
            value = rc4(&key[..length].iter().map(|byte| byte ^ round).collect::<Vec<_>>(), &value);
        }
        value.resize(32, 0);
    }
    let more = match revision {
        2 => "/V 1".to_owned(),
        3 => "/V 2/Length 128".to_owned(),
        _ => "/V 4/Length 128/EncryptMetadata false/StmF/StdCF/StrF/StdCF/CF<</StdCF<</CFM/AESV2/Length 16>>>>"
            .to_owned(),
    };
    let dictionary =
        format!("<</Filter/Standard/R {revision}{more}/P {permissions}/O<{}>/U<{}>>>", hex(&owner), hex(&value));
    (format!("/ID[<{0}><{0}>]", hex(&id)), dictionary)
}

/// Grey pictures in little-endian order, one strip a page.
#[derive(Clone, Copy)]
pub struct Tiff {
    pub pages: u32,
    pub compressed: bool,
    /// `StripByteCounts` is 0, as old writers have it.
    pub zero_counts: bool,
    /// So many of the last strip's bytes are zeros.
    pub blank: usize,
    pub seed: u32,
}

impl Default for Tiff {
    fn default() -> Self {
        Self { pages: 1, compressed: false, zero_counts: false, blank: 0, seed: 0 }
    }
}

impl Tiff {
    pub fn build(self) -> Vec<u8> {
        const SIZE: u32 = 128;
        let mut out = b"II*\0\0\0\0\0".to_vec();
        let mut link = 4;
        for page in 0..self.pages {
            let mut data = noise(self.seed * 100 + page, (SIZE * SIZE) as usize);
            if self.compressed {
                data = zlib(&data);
            }
            if page + 1 == self.pages {
                let from = data.len().saturating_sub(self.blank);
                data[from..].fill(0);
            }
            let strip = out.len() as u32;
            let length = data.len() as u32;
            out.extend(&data);
            out.resize(out.len().next_multiple_of(2), 0);
            let here = out.len() as u32;
            out[link..link + 4].copy_from_slice(&here.to_le_bytes());
            let entries = [
                (256, SIZE),
                (257, SIZE),
                (258, 8),
                (259, if self.compressed { 8 } else { 1 }),
                (262, 1),
                (273, strip),
                (277, 1),
                (278, SIZE),
                (279, if self.zero_counts { 0 } else { length }),
            ];
            out.extend((entries.len() as u16).to_le_bytes());
            for (tag, value) in entries {
                out.extend(
                    [&(tag as u16).to_le_bytes()[..], &4_u16.to_le_bytes(), &1_u32.to_le_bytes(), &value.to_le_bytes()]
                        .concat(),
                );
            }
            link = out.len();
            out.extend([0; 4]);
        }
        out
    }
}

/// A clinical document that declares this encoding.
pub fn cda(encoding: &str, title: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"{encoding}\"?>\n<ClinicalDocument xmlns=\"urn:hl7-org:v3\"><title>{title}</title></ClinicalDocument>\n"
    )
}

/// UTF-16 in little-endian order, with a byte order mark.
pub fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}
