/** bullmq-once/board: a web page that shows who holds which lock. */

export { type Board, createBoard } from './board/board.ts';
export type { BoardOptions } from './board/options.ts';
export type { NodeRequest, NodeResponse } from './board/serve-node.ts';
