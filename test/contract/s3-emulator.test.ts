/**
 * Run against the emulator by default, and against any other endpoint that the environment names
 * (S3_TEST_ENDPOINT, RUN_AWS_INTEGRATION; see test/support/s3/endpoint.ts).
 */
import { engineContract } from './s3-engine.ts'

engineContract()
