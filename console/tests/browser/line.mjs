// A line between a browser and the console that the test makes slow, deaf or cut: TCP through here.
import net from 'node:net';

export class Line {
  /** Milliseconds that each piece of data takes, in each direction. */
  delay = 0;
  /** What the browser sends is taken and goes nowhere, as on a line that is gone while nobody has noticed. */
  deaf = false;
  #ends = new Set();
  #server;

  constructor(port) { this.to = port; }

  get url() { return `http://127.0.0.1:${this.port}/`; }

  async start() {
    this.#server = net.createServer(browser => {
      const console_ = net.connect(this.to, '127.0.0.1');
      for (const [from, to, up] of [[browser, console_, true], [console_, browser, false]]) {
        this.#ends.add(from);
        from.on('data', data => { if (!(up && this.deaf)) setTimeout(() => to.write(data), this.delay); });
        from.on('close', () => { this.#ends.delete(from); setTimeout(() => to.destroy(), this.delay); });
        from.on('error', () => {});
      }
    });
    await new Promise(resolve => this.#server.listen(0, '127.0.0.1', resolve));
    this.port = this.#server.address().port;
    return this;
  }

  /** Every connection breaks; new ones are taken. */
  cut() { for (const end of this.#ends) end.destroy(); }

  stop() {
    this.cut();
    return new Promise(resolve => this.#server.close(resolve));
  }
}
