//! The API's description, made from the code that answers; `docs/openapi.json` is a copy of it.

use utoipa::OpenApi;

use super::{
    api, events,
    view::{AlarmView, DeliveryView, StatusView, WaitingView},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "chartdrop",
        description = "What the running chartdrop knows and does. Times are RFC 3339 in UTC; absent values are null, never missing; keys are only ever added.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        api::status,
        api::waiting,
        api::deliveries,
        api::delivery,
        api::decide,
        api::channel,
        api::reload_config,
        events::stream,
        api::metrics,
        api::healthz,
        api::readyz
    ),
    components(schemas(AlarmView, DeliveryView, StatusView, WaitingView))
)]
struct Description;

/// OpenAPI 3.1, as text.
pub fn text() -> String {
    // A value of plain structs always has a form in JSON.
    Description::openapi().to_pretty_json().unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// `CHARTDROP_WRITE_OPENAPI=1 cargo test --lib openapi` writes it anew.
    #[test]
    fn the_committed_description_is_what_the_code_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        if std::env::var_os("CHARTDROP_WRITE_OPENAPI").is_some() {
            fs::write(&path, text()).unwrap();
        }
        assert_eq!(
            fs::read_to_string(path).unwrap(),
            text(),
            "write it anew: CHARTDROP_WRITE_OPENAPI=1 cargo test --lib openapi"
        );
    }
}
