//! Who sends: the process, as OpenTelemetry's SDK describes it.

use opentelemetry::KeyValue;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::EnvResourceDetector;

/// The service's name, the process, and what `OTEL_RESOURCE_ATTRIBUTES` adds; the name that is given here
/// goes before the variable's.
pub(super) fn describe(service: &str) -> ResourceAttributesWithSchema {
    let resource = Resource::builder_empty()
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_attributes([
            KeyValue::new("process.pid", i64::from(std::process::id())),
            KeyValue::new("telemetry.sdk.language", "rust"),
        ])
        .with_service_name(service.to_owned())
        .build();
    ResourceAttributesWithSchema::from(&resource)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;

    #[test]
    fn the_environment_adds_to_it_and_the_name_that_is_given_goes_before() {
        const GIVEN: &str = "deployment.environment.name=staging,service.name=other";
        const VARIABLE: &str = "OTEL_RESOURCE_ATTRIBUTES";
        if std::env::var(VARIABLE).as_deref() != Ok(GIVEN) {
            // A variable is the whole process's: this test again, in one of its own.
            let name =
                "otlp::resource::tests::the_environment_adds_to_it_and_the_name_that_is_given_goes_before";
            let mut again = std::process::Command::new(std::env::current_exe().unwrap());
            let output = again.args(["--exact", name]).env(VARIABLE, GIVEN).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let found = describe("mine").attributes.0;
        let text = |key: &str| {
            let mut of_it = found.iter().filter(|one| one.key == key);
            let value = of_it.next()?.value.clone()?.value?;
            assert!(of_it.next().is_none(), "{key} twice");
            if let Value::StringValue(text) = value { Some(text) } else { None }
        };
        assert_eq!(text("service.name").as_deref(), Some("mine"));
        assert_eq!(text("deployment.environment.name").as_deref(), Some("staging"));
    }
}
