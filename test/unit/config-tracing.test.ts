import { expect, test } from 'vitest'
import { ConfigError, parseConfig } from '../../src/config/config.ts'

const OTEL_EXPORTER_OTLP_ENDPOINT = 'http://localhost:4318'
const tracing = (env: Record<string, string>) => parseConfig(env).tracing

test('nothing is traced before somebody says where to', () => {
  expect(tracing({})).toBeNull()
  expect(tracing({ OTEL_SERVICE_NAME: 'uploads', OTEL_TRACES_SAMPLER: 'always_on' })).toBeNull()
})

test('an endpoint for traces alone is as good as one for everything', () => {
  expect(tracing({ OTEL_EXPORTER_OTLP_ENDPOINT })).toEqual({ protocol: 'http/protobuf' })
  expect(tracing({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://traces.example/v1' })).toEqual({
    protocol: 'http/protobuf',
  })
})

test('the protocol for traces wins over the one for everything', () => {
  const OTEL_EXPORTER_OTLP_PROTOCOL = 'http/json'
  expect(tracing({ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL })).toEqual({
    protocol: 'http/json',
  })
  const OTEL_EXPORTER_OTLP_TRACES_PROTOCOL = 'http/protobuf'
  expect(
    tracing({ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL }),
  ).toEqual({ protocol: 'http/protobuf' })
})

test.each([{ OTEL_SDK_DISABLED: 'true' }, { OTEL_TRACES_EXPORTER: 'none' }])('%o turns it off', (env) => {
  expect(tracing({ OTEL_EXPORTER_OTLP_ENDPOINT, ...env })).toBeNull()
})

test.each([
  { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
  { OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'grpc' },
  { OTEL_TRACES_EXPORTER: 'zipkin' },
  { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'localhost:4318' },
  { OTEL_SDK_DISABLED: 'yes' },
])('%o stops the start', (env) => {
  expect(() => tracing(env as Record<string, string>)).toThrow(ConfigError)
})
