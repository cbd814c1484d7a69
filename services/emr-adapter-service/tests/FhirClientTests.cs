using System.Collections.Concurrent;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Yizhan.EmrAdapter.Fhir;
using Yizhan.EmrAdapter.Outbox;

namespace Yizhan.EmrAdapter.Tests;

/// <summary>An EMR whose answers lead elsewhere.</summary>
[Trait("Clause", "S5")]
public sealed class FhirClientTests
{
    [Theory]
    [InlineData("//{0}/stolen?page=2", "leads to {0} and")]
    [InlineData("http://emr.example//{0}/stolen", "leads to {0} and")]
    [InlineData("//[", "leads to no address and")]
    public async Task A_link_to_another_server_is_not_followed_and_the_password_stays_here(string link, string said)
    {
        var asked = new ConcurrentQueue<string>();
        await using var elsewhere = Server();
        elsewhere.Run(context =>
        {
            asked.Enqueue(context.Request.Headers.Authorization.ToString());
            return context.Response.WriteAsJsonAsync(new { resourceType = "Bundle" }, Node.Cancel);
        });
        await elsewhere.StartAsync(Node.Cancel);
        var other = new Uri(elsewhere.Urls.First()).Authority;
        await using var emr = Server();
        emr.Run(context => context.Response.WriteAsJsonAsync(
            new { resourceType = "Bundle", link = new[] { new { relation = "next", url = link.Replace("{0}", other, StringComparison.Ordinal) } } }, Node.Cancel));
        await emr.StartAsync(Node.Cancel);

        using var client = new FhirClient(new EmrSystemOptions { Name = "emr", Driver = "fhir", Url = emr.Urls.First() + "/fhir", User = "yizhan" });
        var e = await Assert.ThrowsAsync<FhirException>(() => client.SearchAsync("ServiceRequest", 10, Node.Cancel));
        Assert.IsType<SendOutcome.Refused>(e.Meaning);
        Assert.Contains(said.Replace("{0}", other, StringComparison.Ordinal), e.Message, StringComparison.Ordinal);
        Assert.Empty(asked);
    }

    private static WebApplication Server()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        var app = builder.Build();
        app.Urls.Add("http://127.0.0.1:0");
        return app;
    }
}
