using System.Text.Json.Nodes;

namespace Yizhan.EmrAdapter.Tests;

/// <summary>HL7 v2 with clients and a server that are not ours.</summary>
[Trait("Clause", "S5")]
public sealed class PeerTests
{
    [Fact]
    public async Task Debians_mllp_send_and_node_hl7_client_are_answered()
    {
        await using var node = await Node.StartAsync();
        var file = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(file, Messages.Order("O1", name: "张^三"), Node.Cancel);
            var sent = await Peers.RunAsync("/usr/bin/mllp_send", "--port", $"{node.MllpPort}", "--file", file, "--loose", "127.0.0.1");
            Assert.Contains("MSA|AA|M1", sent, StringComparison.Ordinal);
            Assert.Equal("张^三", (await node.OrdersAsync()).Single().Patient.Name);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task Node_hl7_client_sends_and_node_hl7_server_takes()
    {
        var port = FreePorts.Next();
        using var server = await Peers.NodeAsync("hl7-server.mjs", port);
        var file = Path.GetTempFileName();
        try
        {
            await using var node = await Node.StartAsync(Node.Hl7System(port));
            await File.WriteAllTextAsync(file, Messages.Order("O1", name: "张^三"), Node.Cancel);
            Assert.StartsWith("AA M1", await Peers.RunAsync("/usr/bin/node", Peers.Script("hl7-client.mjs"), $"{node.MllpPort}", file), StringComparison.Ordinal);
            await node.ReportAsync(Node.Report("R1", "final", "O1", "两肺未见异常。"));
            await Wait.UntilAsync(async () => (await node.SystemAsync()).Delivered == 1);
            var received = JsonNode.Parse((await server.StandardOutput.ReadLineAsync(Node.Cancel))!)!;
            Assert.Contains("张", (string)received["text"]!, StringComparison.Ordinal);
            Assert.Contains("两肺未见异常。", (string)received["text"]!, StringComparison.Ordinal);
            Assert.Equal(node.Messages("delivered").Single().ControlId, (string)received["controlId"]!);
        }
        finally
        {
            server.Kill();
            await server.WaitForExitAsync(CancellationToken.None);
            File.Delete(file);
        }
    }
}
