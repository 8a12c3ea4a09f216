use super::*;

fn images(text: &str) -> Vec<String> {
    let names = names(text).unwrap().into_iter();
    names.map(|name| name.unwrap()).collect()
}

#[test]
fn pod_spec_names_all_kinds_of_containers_and_image_volumes() {
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: a, annotations: {image: 'not/this:1'}}
spec:
  initContainers: [{name: i, image: init}]
  containers: [{name: c, image: 'ghcr.io/org/app:v1'}]
  ephemeralContainers: [{name: e, image: 'busybox:1.37'}]
  volumes: [{name: v, image: {reference: 'quay.io/org/data:v2', pullPolicy: Always}}]
status: {containerStatuses: [{image: 'other/app:v9'}]}
";
    let mut found = images(text);
    found.sort();
    assert_eq!(
        found,
        [
            "busybox:1.37",
            "ghcr.io/org/app:v1",
            "init",
            "quay.io/org/data:v2"
        ]
    );
}

#[test]
fn documents_lists_and_templates_of_pods_are_read() {
    let text = "
# Source: chart/templates/a.yaml
apiVersion: apps/v1
kind: Deployment
spec: {template: {metadata: {}, spec: {containers: [{image: a}]}}}
---
apiVersion: v1
kind: List
items:
- {apiVersion: batch/v1, kind: CronJob, spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: b}]}}}}}}
- {apiVersion: v1, kind: ConfigMap, data: {image: 'not/this:1'}}
---
---
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
spec: {image: 'quay.io/prometheus/prometheus:v3', other: {image: ubuntu-22.04}}
";
    assert_eq!(images(text), ["a", "b", "quay.io/prometheus/prometheus:v3"]);
}

#[test]
fn image_in_parts_is_put_together() {
    let text = "
apiVersion: example.org/v1
kind: Operator
spec:
  web: {image: {registry: ghcr.io, repository: org/web, tag: '1.10'}}
  api: {image: {repository: org/api, digest: 'sha256:00', tag: ''}}
";
    assert_eq!(images(text), ["org/api@sha256:00", "ghcr.io/org/web:1.10"]);
}

#[test]
fn schema_of_a_custom_resource_names_no_image() {
    let text = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
spec: {versions: [{schema: {openAPIV3Schema: {properties: {spec: {default: {image: 'not/this:1'}}}}}}]}
";
    assert!(images(text).is_empty());
}

#[test]
fn json_of_kubectl_is_read_even_with_tabs() {
    let text = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Pod\",\n\t\"spec\": {\"containers\": [{\"image\": \"a:1\"}]}\n}\n";
    assert_eq!(images(text), ["a:1"]);
}

#[test]
fn compose_services_are_read_with_anchors_and_defaults() {
    let text = "
x-base: &base {image: 'ghcr.io/org/app:${TAG:-v1}', restart: always}
services:
  web: {<<: *base}
  db: {image: 'postgres:18'}
  own: {build: .}
";
    let mut found = images(text);
    found.sort();
    assert_eq!(found, ["ghcr.io/org/app:v1", "postgres:18"]);
    for image in [
        "org/app:${TAG}",
        "org/app:${TAG:?is-needed}",
        "org/app:$TAG",
    ] {
        let open = names(&format!("services: {{web: {{image: '{image}'}}}}")).unwrap();
        assert!(
            open[0].as_ref().unwrap_err().contains("no default"),
            "{image}"
        );
    }
}

#[test]
fn list_has_one_image_a_line_and_comments() {
    let text = "# production\nnginx\nghcr.io/org/app:v1   # ours\n\nlocalhost:5000/app\n";
    assert_eq!(
        images(text),
        ["nginx", "ghcr.io/org/app:v1", "localhost:5000/app"]
    );
    assert_eq!(images("- nginx\n- ghcr.io/org/app:v1\n").len(), 2);
    assert!(images("# nothing\n").is_empty());
}

#[test]
fn list_with_a_bad_line_names_the_line() {
    let names = names("nginx\nNot An Image\n").unwrap();
    assert_eq!(names[0], Ok("nginx".to_owned()));
    assert!(
        names[1].as_ref().unwrap_err().starts_with("line 2: "),
        "{names:?}"
    );
}

#[test]
fn template_is_reported_and_not_asked_for() {
    let mut found = Found::default();
    let text = "{apiVersion: v1, kind: Pod, spec: {containers: [{image: '{{ .Values.image }}'}, {image: 'a:1'}]}}";
    found.take("pod.yaml", text).unwrap();
    assert_eq!(found.images.len(), 1);
    assert!(
        found.unread[0].contains("is a template"),
        "{:?}",
        found.unread
    );
}

#[test]
fn directory_is_read_in_order_and_a_broken_file_in_it_is_noted() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    std::fs::create_dir(directory.path().join("b")).unwrap();
    write(
        "b/z.yaml",
        "{apiVersion: v1, kind: Pod, spec: {containers: [{image: 'z:1'}]}}",
    );
    write(
        "a.yml",
        "{apiVersion: v1, kind: Pod, spec: {containers: [{image: 'a:1'}]}}",
    );
    write("c.yaml", "{{- if .Values.x }}\nkind: [\n");
    write("README.md", "nothing:\n\t- here");
    write(".hidden.yaml", "kind: [");
    let found = read(&[directory.path().to_owned()]).unwrap();
    let images = found.images.iter().map(|named| named.image.to_string());
    assert_eq!(
        images.collect::<Vec<_>>(),
        ["docker.io/library/a:1", "docker.io/library/z:1"]
    );
    assert_eq!(found.unread.len(), 1, "{:?}", found.unread);
    assert!(found.unread[0].contains("c.yaml"));
    // A path that was named is another matter.
    assert!(read(&[directory.path().join("c.yaml")]).is_err());
    assert!(read(&[directory.path().join("absent")]).is_err());
}
