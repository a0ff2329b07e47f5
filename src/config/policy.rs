//! Policy files: from YAML to `policy::Settings`.
