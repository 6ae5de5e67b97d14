/** bullmq-once/board: a web page that shows who holds which lock. */

export { type Board, type BoardOptions, createBoard } from './board/board.ts';
