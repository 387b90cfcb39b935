import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Body } from '../core/ports/body.ts'
import { broken, createWait, openBody, sayContinue, timedOut, type BodyOptions } from './body.ts'
import { enterFastLane, outsideParser, type Lane, type Sink } from './fast-lane.ts'
import { createRing, type Ring, type RingBuffers } from './ring.ts'

export interface LaneOptions extends BodyOptions {
  buffers: RingBuffers
  /** told of every body which way it took */
  onWay: (way: 'lane' | 'parser') => void
  /** told of a connection that came back from the lane, and waits for its next request */
  onHandBack: (socket: Socket) => void
  /** Smaller bodies are not worth the change. */
  leastBytes: number
}

/** The body of a request by the fast lane, where it is large and the connection plain; else by the parser. */
export function openLaneBody(req: IncomingMessage, res: ServerResponse, options: LaneOptions): Body {
  const plain = openBody(req, res, options)
  const { length } = plain
  if (length === null || length < options.leastBytes || req.httpVersion !== '1.1') {
    options.onWay('parser')
    return plain
  }
  let stopped: Error | null = null
  let body: Body | null = null

  const choose = async (): Promise<Body> => {
    await outsideParser()
    const lane = stopped || req.destroyed ? null : laneBody(req, res, length, options)
    options.onWay(lane ? 'lane' : 'parser')
    if (!lane && stopped) plain.stop(stopped)
    return lane ?? plain
  }
  return {
    length,
    get cause() {
      return body ? body.cause : stopped
    },
    async take(maxBytes) {
      body ??= await choose()
      return body.take(maxBytes)
    },
    idle: () => (body ? body.idle() : stopped !== null || req.destroyed),
    stop(why) {
      if (body) body.stop(why)
      else stopped ??= why
    },
  }
}

function laneBody(
  req: IncomingMessage,
  res: ServerResponse,
  length: number,
  options: LaneOptions,
): Body | null {
  const remaining = length - req.readableLength
  if (req.complete || remaining <= 0) return null
  const buffer = options.buffers.take()
  if (!buffer) return null
  let isOut = true
  let ended = false
  let cause: Error | null = null

  const finish = (why: Error | null) => {
    if (ended) return
    ended = true
    cause = why
    req.off('close', onClose)
    wait.wake()
    if (why !== null) return
    req.complete = true
    lane?.done()
  }
  const onClose = () => finish(broken())
  const wait = createWait(options.idleTimeoutMs, () => finish(timedOut()))
  const onFilled = () => {
    if (ring.left() === 0) finish(null)
    else wait.wake()
  }

  const ring: Ring = createRing(buffer, remaining, onFilled)
  let unwanted = 0
  const sink: Sink = {
    target: () => ring.target(),
    filled(bytes) {
      if (!ended) return ring.filled(bytes)
      unwanted += bytes
      return false
    },
  }
  const lane: Lane | null = enterFastLane(req, res, sink, (socket) => {
    if (isOut) options.buffers.give(buffer)
    isOut = false
    options.onHandBack(socket)
  })
  if (!lane) {
    options.buffers.give(buffer)
    return null
  }
  const { early } = lane
  // Where the connection does not come back, a write of what it brought may be under way.
  res.once('close', () =>
    setImmediate(() => {
      if (isOut) options.buffers.lose(buffer)
      isOut = false
    }),
  )
  req.on('close', onClose).on('error', (error) => finish(broken(error)))
  // Whoever lets the request flow wants to be rid of what is left.
  req.resume = () => {
    finish(broken())
    const left = ring.left() - unwanted
    unwanted = ring.left()
    if (left > 0) lane.drop(left)
    return req
  }
  sayContinue(req, res)

  return {
    length,
    get cause() {
      return cause
    },
    async take(maxBytes) {
      const pieces = takeEarly(early, maxBytes)
      const taken = pieces.reduce((sum, piece) => sum + piece.length, 0)
      if (taken === maxBytes) return pieces
      pieces.push(...ring.take(maxBytes - taken))
      if (!ended && ring.hasRoom()) lane.read()
      if (pieces.length === 0 && !ended) {
        await wait.bytes()
        pieces.push(...ring.take(maxBytes))
      }
      return pieces.length > 0 ? pieces : null
    },
    idle: () => ended || req.destroyed || wait.idle(),
    stop: (why) => finish(why),
  }
}

/** Shifts at most `maxBytes` out of the pieces. */
function takeEarly(early: Buffer[], maxBytes: number): Uint8Array[] {
  const taken: Uint8Array[] = []
  for (let room = maxBytes; room > 0 && early[0];) {
    const first = early[0]
    if (first.length > room) early[0] = first.subarray(room)
    else early.shift()
    taken.push(first.subarray(0, room))
    room -= Math.min(room, first.length)
  }
  return taken
}
