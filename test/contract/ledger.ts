import { afterAll, beforeAll, describe } from 'vitest'
import type { LedgerLimits } from '../../src/ledger/ledger.ts'
import { changesCells } from './ledger-cells.ts'
import { countsBytes } from './ledger-commits.ts'
import { makesFinals } from './ledger-finals.ts'
import { carriesEvents } from './ledger-deliveries.ts'
import { tellsEvents } from './ledger-events.ts'
import type { Fixture } from './ledger-fixture.ts'
import { remembersKeys } from './ledger-idempotency.ts'
import { agreesWithModel } from './ledger-model.ts'
import { keepsQuota } from './ledger-quota.ts'
import { keepsSigningKey } from './ledger-signing-key.ts'
import { keepsStorageNotes } from './ledger-storage.ts'
import { keepsUploads } from './ledger-uploads.ts'
import { movesStatuses } from './ledger-statuses.ts'
import { keepsTransactions } from './ledger-transactions.ts'

/** What every UploadLedger does, whatever database is behind it. */
export function ledgerContract(name: string, open: (options?: LedgerLimits) => Promise<Fixture>): void {
  describe(`UploadLedger on ${name}`, () => {
    let fixture: Fixture
    beforeAll(async () => {
      fixture = await open()
    })
    afterAll(() => fixture.close())

    const current = () => fixture
    describe('uploads', () => keepsUploads(current))
    describe('commits', () => countsBytes(current))
    describe('cells and lengths', () => changesCells(current))
    describe('statuses', () => movesStatuses(current))
    describe('storage notes', () => keepsStorageNotes(current))
    describe('final uploads', () => makesFinals(current))
    describe('idempotency keys', () => remembersKeys(current))
    describe('signing key', () => keepsSigningKey(current))
    describe('transactions', () => keepsTransactions(current))
    describe('model', () => agreesWithModel(current))
    describe('quota', () => keepsQuota(open))
    describe('events', () => tellsEvents(open))
    describe('deliveries', () => carriesEvents(open))
  })
}
