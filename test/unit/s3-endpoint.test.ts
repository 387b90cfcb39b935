import { describe, expect, test } from 'vitest'
import { externalPlace } from '../support/s3/endpoint.ts'

const ENDPOINT = {
  S3_TEST_ENDPOINT: 'http://127.0.0.1:9000',
  S3_TEST_ACCESS_KEY_ID: 'id',
  S3_TEST_SECRET_ACCESS_KEY: 'secret',
}
const AWS = { RUN_AWS_INTEGRATION: '1', AWS_TEST_S3_BUCKET: 'b', AWS_REGION: 'eu-north-1' }
const R2 = {
  RUN_R2_INTEGRATION: '1',
  R2_ACCOUNT_ID: 'account',
  R2_ACCESS_KEY_ID: 'id',
  R2_SECRET_ACCESS_KEY: 'secret',
  R2_TEST_BUCKET: 'b',
}
const credentials = { accessKeyId: 'id', secretAccessKey: 'secret' }

describe('what the S3 tests run against', () => {
  test('is the emulator where the environment says nothing', () => {
    expect(
      externalPlace({ AWS_TEST_S3_BUCKET: 'b', R2_ACCOUNT_ID: 'account', RUN_R2_INTEGRATION: '0' }),
    ).toBe(null)
  })

  test('is any endpoint that is named', () => {
    expect(externalPlace(ENDPOINT)).toEqual({
      engine: 's3',
      url: 'http://127.0.0.1:9000',
      region: 'us-east-1',
      bucket: 'upload-server-test',
      credentials,
      kmsKeyId: null,
    })
    const more = {
      S3_TEST_ENGINE: 'radosgw',
      S3_TEST_REGION: 'r',
      S3_TEST_BUCKET: 'b',
      S3_TEST_KMS_KEY_ID: 'k',
    }
    expect(externalPlace({ ...ENDPOINT, ...more })).toMatchObject({
      engine: 'radosgw',
      region: 'r',
      bucket: 'b',
      kmsKeyId: 'k',
    })
  })

  test("is Amazon's S3 with the SDK's own credentials, or R2, where that is asked for", () => {
    const aws = { engine: 'aws', url: null, region: 'eu-north-1', bucket: 'b', credentials: null }
    expect(externalPlace(AWS)).toMatchObject(aws)
    const url = 'https://account.r2.cloudflarestorage.com'
    expect(externalPlace(R2)).toMatchObject({ engine: 'r2', url, region: 'auto', bucket: 'b', credentials })
  })

  test.for([ENDPOINT, AWS, R2])('is an error where a variable is missing', (env) => {
    for (const name of Object.keys(env).slice(1))
      expect(() => externalPlace({ ...env, [name]: '' })).toThrow(`${name} has to be set`)
  })

  test('is an error where two are asked for, or an engine that is none', () => {
    expect(() => externalPlace({ ...ENDPOINT, ...R2 })).toThrow('one of them')
    expect(() => externalPlace({ ...ENDPOINT, S3_TEST_ENGINE: 'minio' })).toThrow('S3_TEST_ENGINE')
  })
})
