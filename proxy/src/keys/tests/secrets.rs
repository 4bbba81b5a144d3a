//! Nothing that is printed or logged holds key material.

use super::*;
use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn logs_debug_and_errors_show_no_key() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let (fake, keyring) = keyring();
    keyring.start().await;
    let header = header(&keyring.for_write(keyring.default_key(), PHOTOS).await.unwrap());
    let mut texts = vec![format!("{keyring:?}")];
    for mood in [Mood::Down, Mood::Odd, Mood::Denied] {
        fake.set(mood);
        sleep(secs(100)).await;
        let cold = EnvelopeHeader { sealed_key: vec![1; 76], ..header.clone() };
        for error in [read(&keyring, &cold).await.err(), keyring.for_write(&key("other"), PHOTOS).await.err()]
        {
            texts.push(format!("{error:?}"));
        }
    }
    fake.set(Mood::Up);
    fake.erase("default");
    sleep(secs(100)).await;
    texts.push(format!("{:?}", read(&keyring, &header).await.err()));
    texts.push(format!("{:?} {:?}", keyring.ready(), keyring.stats()));
    texts.push(String::from_utf8(log.0.lock().clone()).unwrap());
    let all = texts.join("\n");
    assert!(all.contains("dropped every data key"), "the log was captured");
    let keys = fake.plain_keys();
    assert!(keys.len() >= 2);
    for plain in keys {
        for shown in
            [hex::encode(plain), STANDARD.encode(plain), URL_SAFE_NO_PAD.encode(plain), format!("{plain:?}")]
        {
            assert!(!all.contains(&shown));
        }
    }
}
